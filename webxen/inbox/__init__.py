"""Entry points for hosts' messages and for periodic tasks."""
