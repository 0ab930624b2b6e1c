"""Unix sockets between the worker's processes, and the messages that wait at them."""
