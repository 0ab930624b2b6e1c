"""Benchmarks: ratios to a bare command or a peer in the same run. They assert no times."""
