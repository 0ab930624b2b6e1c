"""After a restored backup: what is made void, and machines taken back from their hosts."""
