"""Requests for machines and for quota, and decisions on them."""
