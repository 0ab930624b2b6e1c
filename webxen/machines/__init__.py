"""Machines: their rows, disks and interfaces, and the transitions of their state."""
