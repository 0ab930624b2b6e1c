"""One suite for two programs: real Xen's xl and the stand-in."""
