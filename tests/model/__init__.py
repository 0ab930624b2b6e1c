"""Model tests of the whole life cycle under faults, in one process: the real portal and worker, with xl and
the broker simulated in memory.
"""
