"""Enrolment and removal of hosts: tokens, keys, broker accounts."""
