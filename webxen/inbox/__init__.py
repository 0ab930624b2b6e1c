"""What hosts report and what the clock asks for: the entry points that are no page and no API."""
