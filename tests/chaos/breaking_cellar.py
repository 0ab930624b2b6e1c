"""Runs in a dom0 in the place of `python3 -m worker.cellar`: the same, with something broken at one point.

WISH holds "kill POINT" (this process, -9) or "cut POINT" (the relay's process, -9); BROKE gets the time.
"""

import os
import runpy
import signal
import time
from pathlib import Path

from worker import points

WISH = Path("/run/webxen-break")
BROKE = Path("/run/webxen-broke")
RELAY_PID = Path("/run/webxen/relay.pid")


def reach(name: str) -> None:
    try:
        how, _, where = WISH.read_text().strip().partition(" ")
    except FileNotFoundError:
        return
    if where != name:
        return
    WISH.unlink()
    BROKE.write_text(str(time.time()))
    os.kill(os.getpid() if how == "kill" else int(RELAY_PID.read_text()), signal.SIGKILL)


points.listener = reach
runpy.run_module("worker.cellar", run_name="__main__")
