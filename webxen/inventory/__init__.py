"""Hosts and what they offer: pools, networks, addresses, images, sizes."""
