"""Quotas of projects and what is reserved of them. Knows numbers, not machines."""
