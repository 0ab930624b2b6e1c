"""Images on this host: the store, tarballs, and what is seeded into a fresh copy."""
