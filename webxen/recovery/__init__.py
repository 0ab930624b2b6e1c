"""Recovery after a restored backup: credentials are revoked, machines are taken back from their hosts."""
