"""The `xl` program, reading and writing xl.cfg, and Xen's own configuration parser."""
