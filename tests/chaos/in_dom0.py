"""Runs inside a real dom0: kills create and delete with SIGKILL at given points and checks the result.

`tests.chaos.real` copies it there and reads its output. It has its own state directory, keys and console
service, and touches only machines that it created.
"""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from worker import failpoints
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import (
    CreateMachine,
    DeleteMachine,
    DiskSpec,
    ImageSpec,
    MachineSpec,
    Order,
    Report,
    SeedSpec,
    encode,
    seal,
)
from worker.identity import keys
from worker.job.context import HostContext
from worker.job.journal import Journal
from worker.job.reporting import Reporter
from worker.settings import Settings, read
from worker.xen.xl import Xl

STATE = Path("/var/lib/webxen/chaos")
STORE = Path("/var/lib/webxen")
#: kill at the n-th failpoint of this name
POINTS: dict[str, list[tuple[str, str, int]]] = {
    "create": [
        ("", "a draft is there", 1),
        ("", "a disk has its name", 1),
        ("", "a configuration is there", 1),
        ("DOMAIN at 55 %", "during xl", 2),
        ("DOMAIN at 55 %", "after xl", 2),
        ("", "KERNEL is done", 1),
    ],
    "delete": [
        ("", "ACCEPT is done", 1),
        ("DOMAIN at 10 %", "during xl", 2),
        ("DOMAIN at 10 %", "after xl", 2),
        ("", "a disk is gone", 1),
        ("", "a configuration is gone", 1),
        ("", "what was known of a machine is gone", 1),
    ],
}


class Ground:
    """This dom0, with orders signed by a test portal."""

    def __init__(self) -> None:
        STATE.mkdir(mode=0o700)
        for name in ("images", "kernels"):
            (STATE / name).symlink_to(STORE / name)
        host_key, _ = keys.generate()
        self.pen, portal = keys.generate()
        (STATE / "host.key").write_bytes(host_key)
        (STATE / "portal.pub").write_bytes(portal)
        self.env = {
            **os.environ,
            "WEBXEN_HOST": "xen1",
            "WEBXEN_BROKER_URL": "redis://127.0.0.1:1/0",
            "WEBXEN_STATE_DIR": str(STATE),
            "WEBXEN_HOST_KEY_FILE": str(STATE / "host.key"),
            "WEBXEN_PORTAL_KEY_FILE": str(STATE / "portal.pub"),
        }
        self.settings: Settings = read(self.env)
        self.settings.make_directories()
        self.reports: list[Report] = []
        self.fence = 0
        with (STATE / "consoled.log").open("wb") as log:
            self.consoled = subprocess.Popen(
                [sys.executable, "-m", "worker.console.daemon"], env=self.env, stdout=log, stderr=log
            )

    def dom0(self) -> HostContext:
        journal = Journal(self.settings.journal_dir)
        return HostContext(
            settings=self.settings,
            xl=Xl(str(self.settings.xl)),
            journal=journal,
            reporter=Reporter(self.reports.append, on_end_told=journal.mark_told),
            verify=keys.read_verifier(self.settings.portal_key_file),
        )

    def obey(self, dom0: HostContext, order: Order) -> None:
        envelope = seal(order, host="xen1", sign=keys.signer(self.pen), not_after=int(time.time()) + 600)
        executor.obey(dom0, envelope, now=int(time.time()))

    def kill(self, order: Order, after: str, name: str, nth: int) -> bool:
        """Execute the order in a child process and kill it there; return whether the point was reached."""
        pid = os.fork()
        if pid == 0:
            seen = {"armed": not after, "count": 0}

            def reach(point: str) -> None:
                if point == after:
                    seen["armed"] = True
                elif seen["armed"] and point == name:
                    seen["count"] += 1
                    if seen["count"] == nth:
                        os.kill(os.getpid(), signal.SIGKILL)

            failpoints.listener = reach
            try:
                self.obey(self.dom0(), order)
            finally:
                os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL

    def take_over(self, order: Order) -> Report | None:
        dom0 = self.dom0()
        Reconciler(dom0).look()
        entry = dom0.journal.read(order.job_id)
        if entry is None or entry.state == "ENDED":
            self.obey(dom0, order)
        until = time.monotonic() + 400
        while time.monotonic() < until:
            for report in self.reports:
                if report.job_id == order.job_id and report.event in ("SUCCEEDED", "FAILED"):
                    return report
            time.sleep(0.2)
        return None


def order_for(ground: Ground, verb: str, machine: MachineSpec) -> Order:
    ground.fence += 1
    job = {
        "job_id": str(uuid.uuid4()),
        "fence": ground.fence,
        "machine": machine,
        "deadline_seconds": 400,
    }
    if verb == "delete":
        return DeleteMachine(**job)  # type: ignore[arg-type]
    return CreateMachine(**job, seed=SeedSpec("chaos"))  # type: ignore[arg-type]


def new_machine(image: dict[str, Any]) -> MachineSpec:
    machine_id = str(uuid.uuid4())
    names = {stack.name for stack in dataclasses.fields(ImageSpec)}
    return MachineSpec(
        id=machine_id,
        domain=f"chaos-{machine_id[:8]}",
        vcpus=1,
        memory_mib=128,
        disks=(DiskSpec("root", "local", 64, "xvda"),),
        nics=(),
        image=ImageSpec(**{key: value for key, value in image.items() if key in names}),
    )


def judge(ground: Ground, machine: MachineSpec, verb: str, end: Report | None) -> list[str]:
    """Return deviations: after success everything must exist, after a failure nothing."""
    domains = [one for one in ground.dom0().xl.domains() if one.uuid == machine.id]
    files = [str(path.relative_to(STATE)) for path in (STATE / "disks").glob(f"{machine.id}/*")]
    is_made = verb == "create" and end is not None and end.event == "SUCCEEDED"
    wanted_domains, wanted_files = (1, [f"disks/{machine.id}/root.img"]) if is_made else (0, [])
    wrong = []
    if len(domains) != wanted_domains:
        wrong.append(f"{len(domains)} domains")
    if files != wanted_files:
        wrong.append(f"disks: {files}")
    return wrong


def main() -> None:
    image = json.loads(sys.argv[1])
    assert hashlib.sha256((STORE / "images" / image["file"]).read_bytes()).hexdigest() == image["sha256"]
    ground = Ground()
    try:
        for create_at, delete_at in zip(POINTS["create"], POINTS["delete"], strict=True):
            machine = new_machine(image)
            for verb, at in (("create", create_at), ("delete", delete_at)):
                order = order_for(ground, verb, machine)
                is_reached = ground.kill(order, *at)
                started = time.monotonic()
                end = ground.take_over(order)
                wrong = judge(ground, machine, verb, end)
                line = {
                    "verb": verb,
                    "point": f"{at[1]} {at[2]}",
                    "reached": is_reached,
                    "seconds": round(time.monotonic() - started, 1),
                    "end": encode(end) if end else None,
                    "wrong": wrong,
                }
                print(json.dumps(line), flush=True)
    finally:
        ground.consoled.terminate()
        ground.consoled.wait(20)


if __name__ == "__main__":
    main()
