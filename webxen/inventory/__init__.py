"""Hosts and what they offer: storage pools, networks, addresses, images, sizes."""
