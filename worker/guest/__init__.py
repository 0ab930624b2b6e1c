"""What may be done to one domain: make it, boot it, stop it, its files, leases and readiness."""
