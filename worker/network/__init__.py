"""The host's networks."""
