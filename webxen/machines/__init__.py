"""What a machine is: its row, its disks and interfaces, and the table of its states."""
