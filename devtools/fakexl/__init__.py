"""A stand-in for `xl` and the xenstore tools: the same command line, output and failures, without Xen.

It serves laptops and tests; the worker has one driver and cannot tell. Standard library only, and
started without site-packages, so that a call costs milliseconds. It imports nothing but
`worker.xen.config` and `worker.xen.libxlutil` (how a configuration is read), `worker.relay.xl_stream` (how
a migration is written) and `worker.shell`.
"""

from devtools.fakexl.recording import Overlap, Run, overlaps
from devtools.fakexl.settings import Settings
from devtools.fakexl.stand_in import StandIn, install, power_off

__all__ = ["Overlap", "Run", "Settings", "StandIn", "install", "overlaps", "power_off"]
