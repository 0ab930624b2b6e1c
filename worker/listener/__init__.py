"""The Celery process, without root: orders from the broker to the agent, and messages back."""
