"""Jobs: every change that a host makes to a machine."""
