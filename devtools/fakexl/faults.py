"""Faults that tests can set: slow, hung, broken or killed commands, a full disk, garbled lists.

They are read from faults.json (or FX_… in the environment) and take effect at a step of a verb. faults.json:
{"create": {"hang": true}, "list": {"null_name": true}, "guest": {…}}. Keys of a verb: at (step, default
"start"), slow (seconds), ends (pids killed), hang, exit (code), stdout, stderr, kill, times (how often),
null_name, columns (5 or 7), cut_at (bytes), empty. Keys of "guest": ignores_shutdown, no_login, panic,
silent.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


class Faults:
    """The faults set for one verb."""

    def __init__(self, directory: Path, verb: str) -> None:
        self.directory = directory
        self.verb = verb
        fault = read(directory).get(verb, {})
        self.fault: dict[str, Any] = {**fault, **_from_environment(verb)}
        if "times" in fault and not _take_one(directory, verb):
            self.fault = _from_environment(verb)

    def reach(self, step: str) -> None:
        """Apply the fault set for this step. May not return."""
        if not self.fault or self.fault.get("at", "start") != step:
            return
        time.sleep(float(self.fault.get("slow", 0)))
        for pid in self.fault.get("ends", ()):
            os.kill(pid, signal.SIGKILL)
        if self.fault.get("hang"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(3600)
        if self.fault.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if "exit" in self.fault:
            sys.stdout.write(self.fault.get("stdout", ""))
            sys.stderr.write(self.fault.get("stderr", ""))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(self.fault["exit"]))

    def garble(self, text: str) -> str:
        """Change an output as set."""
        if self.fault.get("empty"):
            return ""
        lines = text.splitlines(keepends=True)
        for index, line in enumerate(lines):
            if self.verb == "list" and index > 1 and line.startswith(tuple("abcdefghijklmnopqrstuvwxyz")):
                lines[index] = self._garbled_row(line)
        text = "".join(lines)
        return text[: int(self.fault["cut_at"])] if "cut_at" in self.fault else text

    def _garbled_row(self, line: str) -> str:
        name, rest = line[:40], line[40:]
        nameless = self.fault.get("null_name")
        if nameless is True or nameless == name.strip():
            return f"{'(null)':<40}{rest}"
        if self.fault.get("columns") == 5:
            return name + rest.rstrip().rpartition(" ")[0].rstrip() + "\n"
        return name + rest.rstrip("\n") + "    extra\n" if self.fault.get("columns") == 7 else line


def read(directory: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads((directory / "faults.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def lay_out(directory: Path, faults: dict[str, dict[str, Any]]) -> None:
    """Write faults.json; {} clears all faults."""
    fresh = directory / f".faults.{os.getpid()}"
    fresh.write_text(json.dumps(faults))
    fresh.replace(directory / "faults.json")


def _take_one(directory: Path, verb: str) -> bool:
    """Decrease `times`. Returns False when it is used up."""
    with (directory / "faults.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        faults = read(directory)
        left = int(faults.get(verb, {}).get("times", 0))
        if left > 0:
            faults[verb]["times"] = left - 1
            lay_out(directory, faults)
        return left > 0


def _from_environment(verb: str) -> dict[str, Any]:
    """Parse FX_HANG=verb, FX_EXIT=verb:rc, FX_SLOW=verb:seconds, FX_KILL_AFTER=verb:step, …"""
    fault: dict[str, Any] = {}
    for variable, key in (("FX_HANG", "hang"), ("FX_EXIT", "exit"), ("FX_SLOW", "slow")):
        for word in os.environ.get(variable, "").split(","):
            name, _, value = word.partition(":")
            if name == verb:
                fault[key] = float(value) if value else True
    killed, _, step = os.environ.get("FX_KILL_AFTER", "").partition(":")
    if killed == verb:
        fault.update(kill=True, at=step or "done")
    if verb == "list" and os.environ.get("FX_NULL_NAME"):
        fault["null_name"] = True
    if verb == "list" and os.environ.get("FX_CUT_AT"):
        fault["cut_at"] = int(os.environ["FX_CUT_AT"])
    if verb == "create" and os.environ.get("FX_ENOSPC"):
        fault.update(ENOSPC)
    return fault


#: what create prints when the dom0's disk is full
ENOSPC = {
    "exit": 1,
    "stderr": "libxl: error: libxl_utils.c:820:libxl__write_file: failed to write "
    "/var/lib/xen/userdata-d.1: No space left on device\n",
}
