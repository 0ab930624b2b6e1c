"""Fault tests of the whole product: `python -m tests.chaos`, which is `make chaos`. Not part of `make
check`.
"""
