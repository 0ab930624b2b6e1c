"""The network half of a migration's transport: TLS to one named host, without root."""
