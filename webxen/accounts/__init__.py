"""Users, projects, memberships and API tokens."""
