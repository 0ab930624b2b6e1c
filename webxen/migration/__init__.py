"""Migration of machines to another host: one job, two hosts."""
