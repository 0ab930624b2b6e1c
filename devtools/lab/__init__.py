"""The lab: the Xen hypervisor and a Debian dom0 in QEMU, with the worker in it.

Builds the dom0 image; boots, pauses and resumes it; and reaches it over ssh.
"""
