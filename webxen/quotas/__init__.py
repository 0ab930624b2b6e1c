"""The ledger: what a project may have and what is reserved. Knows numbers, not machines."""
