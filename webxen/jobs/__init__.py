"""What may be done to machines: every change of a dom0 is a job."""
