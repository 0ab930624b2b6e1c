"""A real Xen on every desk: the hypervisor and a Debian dom0 in QEMU, with the worker in it.

Lives here: building the dom0 image, booting, pausing and resuming it, and reaching it over ssh. The
worker's verbs do not live here, nor does anything of the portal.
"""
