"""Both sides of a migration, live, suspended or cold (with its disks copied)."""
