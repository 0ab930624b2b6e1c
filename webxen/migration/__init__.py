"""Moving a machine to another host: one job, two hosts."""
