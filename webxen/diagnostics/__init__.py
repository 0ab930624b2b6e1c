"""Comparison of the database with the hosts (`verify`), and acceptance test of a host (`burnin`)."""
