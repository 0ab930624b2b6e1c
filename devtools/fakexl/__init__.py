"""A stand-in for `xl` and the xenstore tools: the same command line, output and failures, without Xen.

Used for development and tests; the worker's driver is the same for both. It uses the standard library only
and is started without site-packages, so that a call takes milliseconds. Of the worker it imports only
`worker.xen.config` and `worker.xen.libxlutil` (reading configurations), `worker.relay.xl_stream` (the
migration stream) and `worker.shell`.
"""

from devtools.fakexl.recording import Overlap, Run, overlaps
from devtools.fakexl.settings import Settings
from devtools.fakexl.stand_in import StandIn, install, power_off

__all__ = ["Overlap", "Run", "Settings", "StandIn", "install", "overlaps", "power_off"]
