"""WebSocket console: tickets, live streams and control of the input."""
