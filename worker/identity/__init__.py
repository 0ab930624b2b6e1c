"""The host's own key and the portal's keys that it trusts."""
