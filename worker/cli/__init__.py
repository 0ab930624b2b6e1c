"""The command `webxen-worker`: join a portal, rotate keys, shared pools."""
