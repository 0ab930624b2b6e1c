"""Runs in a dom0 in place of `python3 -m worker.agent.daemon`: the same, with one injected fault.

WISH contains "kill POINT" (this process, -9) or "cut POINT" (the relay's process, -9); the time is written to
BROKE.
"""

import os
import runpy
import signal
import time
from pathlib import Path

from worker import failpoints

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


failpoints.listener = reach
runpy.run_module("worker.agent.daemon", run_name="__main__")
