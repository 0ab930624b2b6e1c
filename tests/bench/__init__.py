"""Benchmarks: ratios against a bare command or a peer in the same run. Nothing here asserts a time."""
