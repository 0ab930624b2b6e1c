"""Unix sockets between the worker's processes, and the outgoing messages passed through them."""
