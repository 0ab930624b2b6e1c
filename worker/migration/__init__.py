"""Both sides of a migration: source, target, with disks copied or the guest suspended."""
