"""The `xl` program, xl.cfg in both directions, and Xen's own configuration parser."""
