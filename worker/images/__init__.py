"""Images on this host: the store, root tarballs, and what is seeded into a new copy."""
