"""People, projects, tokens."""
