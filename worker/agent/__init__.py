"""The root daemon of a dom0: it accepts signed orders, executes them, recovers after a restart and cancels
jobs.
"""
