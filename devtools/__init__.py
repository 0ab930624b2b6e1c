"""What developers and `make up` use: Xen in QEMU and the stand-in `xl`. Never installed on a dom0."""
