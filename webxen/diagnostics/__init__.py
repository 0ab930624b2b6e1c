"""Comparing the database with the hosts (`verify`), and the acceptance run of a host (`burnin`)."""
