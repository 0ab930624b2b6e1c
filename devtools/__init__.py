"""Tools for development and `make up`: Xen in QEMU and the stand-in `xl`. Never installed on a dom0."""
