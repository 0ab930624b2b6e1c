"""Breaking a move off at each of its points in turn: a worker killed, the transport cut, xl killed, a cancel.

Each side's order is carried out in a process of its own, as on two hosts. What is left behind is taken up
by new workers, judged by both hosts' facts as the portal does, settled, and then the recording decides.
"""

import json
import multiprocessing as mp
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.worker.bed import Bed, digest
from tests.worker.moving import Host, Pair
from worker import contract, machine_files, orders, points
from worker.contract import MoveFacts, MoveMethod, MoveVerdict, Order, Report
from worker.dom0 import Dom0
from worker.journal import Journal
from worker.reconcile import Reconciler
from worker.relayd import Relayd
from worker.reporting import Reporter
from worker.xl import Xl

How = Literal["kill", "cut", "cancel"]
#: the name of a point, and the how manieth time it is reached
Point = tuple[str, int]
FORK = mp.get_context("fork")
#: where xl itself is killed, on either side
XL_STEPS = {
    "migrate": ("banner", "half", "suspended", "sent", "ready", "go", "reported"),
    "migrate-receive": ("received", "go", "renamed", "running"),
}


def worker_of(bed: Bed) -> Dom0:
    """A worker whose reports go to a file: it runs in another process."""
    journal = Journal(bed.settings.journal_dir)

    def tell(report: Report) -> None:
        with (bed.directory / "reports.jsonl").open("a") as out:
            out.write(json.dumps(contract.encode(report)) + "\n")

    dom0 = bed.dom0()
    return Dom0(
        settings=bed.settings,
        xl=Xl(bed.stand_in.xl, str(bed.stand_in.programs)),
        journal=journal,
        reporter=Reporter(tell, on_end_told=journal.mark_told),
        verify=dom0.verify,
    )


def reports_of(bed: Bed, job_id: str) -> list[Report]:
    path = bed.directory / "reports.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [contract.decode(json.loads(line)) for line in lines]
    return [report for report in found if isinstance(report, Report) and report.job_id == job_id]


def end_of(bed: Bed, job_id: str) -> Report | None:
    entry = Journal(bed.settings.journal_dir).read(job_id)
    if entry is None or entry.end is None or entry.state != "ENDED":
        return None
    end = contract.decode(entry.end)
    assert isinstance(end, Report)
    return end


def _be_worker(bed: Bed, envelope: str, told: Path, at_point: Callable[[str, int], None]) -> None:
    """Carry an order out in this process, which ends with it."""
    counts: dict[str, int] = {}

    def reach(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1
        with told.open("a") as out:
            out.write(json.dumps([name, counts[name]]) + "\n")
        at_point(name, counts[name])

    points.listener = reach
    dom0 = worker_of(bed)
    orders.obey(dom0, envelope, now=int(time.time()))
    dom0.reporter.flush(timeout_seconds=5)


def _look(bed: Bed) -> None:
    Reconciler(worker_of(bed)).look()
    time.sleep(0.2)
    until = time.monotonic() + 60
    while time.monotonic() < until and any(
        entry.state != "ENDED" for entry in Journal(bed.settings.journal_dir).entries()
    ):
        time.sleep(0.05)


def _be_relayd(host: Host) -> None:
    Relayd(host.bed.settings).serve_for_ever()


@dataclass(frozen=True)
class Trial:
    """What came of breaking a move off at one point."""

    how: str
    where: str
    verdict: MoveVerdict | Literal["UNKNOWN"]
    seconds: float
    wrong: tuple[str, ...]
    is_reached: bool


def judge(
    source: MoveFacts | None, target: MoveFacts | None, *, is_cold: bool = False
) -> MoveVerdict | Literal["UNKNOWN"]:
    """Where the machine is, from both hosts' facts: the portal's rule in small."""
    if source is None or target is None or source.domains is None or target.domains is None:
        return "UNKNOWN"
    here = [domain for domain in source.domains if domain.uuid]
    there = [domain for domain in target.domains if domain.uuid]
    if any(domain.power == "RUNNING" for domain in there):
        return "MOVED"
    if any(domain.power == "RUNNING" for domain in here):
        return "STAYED"
    if target.go_passed and source.go_passed and is_cold:
        return "MOVED"
    if target.go_passed:
        return "MOVED" if there else "STAYED" if here else "UNKNOWN"
    return "STAYED" if target.closed and (here or is_cold) else "UNKNOWN"


class MoveRange:
    """Two hosts between which one machine is moved, over and over.

    `is_off`: of a cold move: it is off before and after; otherwise it runs, and is shut down and started.
    """

    def __init__(self, pair: Pair, *, is_off: bool = False) -> None:
        self.pair = pair
        self.is_off = is_off
        self._relays: dict[str, Any] = {}
        for host in (pair.a, pair.b):
            host.stop_relayd()
            self._start_relay(host)
        self.machine = pair.machine(memory_mib=64)
        pair.b.bed.listen()
        if is_off:
            pair.power_off(self.machine)
        self._content = digest(pair.a.bed.disk(self.machine))

    def _start_relay(self, host: Host) -> None:
        host.bed.settings.relay_socket.unlink(missing_ok=True)
        process = FORK.Process(target=_be_relayd, args=(host,))
        process.start()
        self._relays[host.name] = process
        until = time.monotonic() + 10
        while not host.bed.settings.relay_socket.exists() and time.monotonic() < until:
            time.sleep(0.01)

    def close(self) -> None:
        for process in self._relays.values():
            process.kill()
            process.join()

    # --- one trial -----------------------------------------------------------------------------

    def names(self, method: MoveMethod = "LIVE") -> dict[str, list[Point]]:
        """Every point either side passes when nothing breaks the move off."""
        trial = self._move(method=method)
        assert trial.verdict == "MOVED", trial
        assert not trial.wrong, trial
        return {side: self._told(side) for side in ("SOURCE", "TARGET")}

    def _told(self, side: str) -> list[Point]:
        lines = self._points_file(side).read_text().splitlines()
        return [(name, count) for name, count in map(json.loads, lines)]

    def _points_file(self, side: str) -> Path:
        return self.pair.a.bed.directory / f"points.{side}"

    def break_off(self, how: How, side: str, point: Point, *, method: MoveMethod = "LIVE") -> Trial:
        return self._move(method=method, how=how, side=side, point=point)

    def kill_xl(self, verb: str, step: str) -> Trial:
        host = self.pair.a if verb == "migrate" else self.pair.b
        host.bed.stand_in.lay_out(**{verb: {"kill": True, "at": step, "times": 1}})
        try:
            return self._move(method="LIVE", how="kill", side=verb, point=(step, 1))
        finally:
            host.bed.stand_in.lay_out()

    def _move(
        self, *, method: MoveMethod, how: How = "kill", side: str = "", point: Point = ("", 0)
    ) -> Trial:
        a, b = self.pair.a, self.pair.b
        is_cold = method == "COLD"
        cold = {"copied": ("root",), "restarts": not self.is_off} if is_cold else {}
        receive = self.pair.receive(self.machine, a, method=method, **cold)

        def at_point(mine: str) -> Callable[[str, int], None]:
            return lambda name, count: (
                self._do(how, receive.job_id) if (mine, name, count) == (side, *point) else None
            )

        for name in ("SOURCE", "TARGET"):
            self._points_file(name).write_text("")
        processes = [self._begin(b, receive, "TARGET", at_point("TARGET"))]
        port = self._await_port(b, receive.job_id, processes[0])
        if port:
            migrate = self.pair.migrate(receive, port, b)
            processes.append(self._begin(a, migrate, "SOURCE", at_point("SOURCE")))
        processes[-1].join(60)
        began = time.monotonic()
        processes[0].join(3)
        if processes[0].is_alive():
            # Nobody ever came: the portal takes the order to receive back.
            Journal(b.bed.settings.journal_dir).ask_cancel(receive.job_id)
            processes[0].join(60)
        for host in (a, b):
            if not self._relays[host.name].is_alive():
                self._start_relay(host)
        if port and Journal(a.bed.settings.journal_dir).read(receive.job_id) is None:
            # It was not even written down: the portal rings again.
            self._begin(a, migrate, "SOURCE AGAIN", lambda *_: None).join(60)
        verdict = self._settle(receive.job_id, port, is_cold=is_cold)
        seconds = time.monotonic() - began
        wrong = self._wrong(verdict) + (self._wrong_disks(verdict) if is_cold else [])
        is_reached = side not in ("SOURCE", "TARGET") or point in self._told(side)
        self._bring_home()
        return Trial(how, f"{side} {point[0]}#{point[1]}", verdict, seconds, tuple(wrong), is_reached)

    def _do(self, how: How, job_id: str) -> None:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "cut":
            for relay in self._relays.values():
                os.kill(relay.pid, signal.SIGKILL)
        if how == "cancel":
            for host in (self.pair.a, self.pair.b):
                Journal(host.bed.settings.journal_dir).ask_cancel(job_id)

    def _begin(self, host: Host, order: Order, side: str, at_point: Callable[[str, int], None]) -> Any:
        envelope = host.bed.envelope(order, host=host.name)
        arguments = (host.bed, envelope, self._points_file(side), at_point)
        process = FORK.Process(target=_be_worker, args=arguments)
        process.start()
        return process

    def _await_port(self, host: Host, job_id: str, process: Any) -> int:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            ports = [report.move.port for report in reports_of(host.bed, job_id) if report.move is not None]
            if port := max(ports, default=0):
                return port
            if not process.is_alive():
                return 0
            time.sleep(0.02)
        return 0

    # --- afterwards ----------------------------------------------------------------------------

    def _settle(self, job_id: str, port: int, *, is_cold: bool) -> MoveVerdict | Literal["UNKNOWN"]:
        """New workers take up what is left; then the portal's part."""
        a, b = self.pair.a, self.pair.b
        looks = [FORK.Process(target=_look, args=(host.bed,)) for host in (a, b)]
        for look in looks:
            look.start()
        for look in looks:
            look.join(90)
        ends = {host.name: end_of(host.bed, job_id) for host in (a, b)}
        source, target = (end.move if end is not None else None for end in (ends["xen1"], ends["xen2"]))
        if not port:
            return "STAYED"  # MIGRATE was never given
        verdict = judge(source, target, is_cold=is_cold)
        if verdict == "UNKNOWN":
            return verdict
        for host, side in ((b, "TARGET"), (a, "SOURCE")):
            settle_id = contract.settle_job_id(job_id, side)  # type: ignore[arg-type]
            fence = self.pair.fence
            order = contract.SettleMove(settle_id, fence, self.machine, job_id, side, verdict)  # type: ignore[arg-type]
            process = self._begin(host, order, "SETTLE", lambda *_: None)
            process.join(60)
            end = end_of(host.bed, settle_id)
            if end is None or end.event != "SUCCEEDED":
                return "UNKNOWN"
        return verdict

    def _wrong(self, verdict: str) -> list[str]:
        a, b = self.pair.a, self.pair.b
        here, there = a.powers(self.machine), b.powers(self.machine)
        name = self.machine.domain
        power: dict[str, str] = {} if self.is_off else {name: "RUNNING"}
        wanted: dict[str, Any] = {"MOVED": ({}, power), "STAYED": (power, {})}
        wrong = []
        if self.pair.ran_twice():
            wrong.append("I1: it ran twice")
        if verdict in wanted and (here, there) != wanted[verdict]:
            wrong.append(f"{verdict}, but xen1 has {here} and xen2 {there}")
        if verdict == "UNKNOWN":
            wrong.append(f"UNKNOWN: xen1 has {here} and xen2 {there}")
        if not a.bed.disk(self.machine).exists():
            wrong.append("I2: the disk is lost")
        kept = {host.name: host.bed.settings.machine_facts(self.machine.id).exists() for host in (a, b)}
        if verdict in wanted and kept != {"xen1": verdict == "STAYED", "xen2": verdict == "MOVED"}:
            wrong.append(f"{verdict}, and machine.json is at {kept}")
        return wrong

    def _wrong_disks(self, verdict: str) -> list[str]:
        """The source's disk is never touched; the target has all of it, or nothing."""
        a, b = self.pair.a, self.pair.b
        wrong = []
        if digest(a.bed.disk(self.machine)) != self._content:
            wrong.append("I2: the source's disk was written")
        copy = b.bed.disk(self.machine)
        if verdict == "MOVED" and (not copy.exists() or digest(copy) != self._content):
            wrong.append("I2: the target has not the disk that was carried over")
        left = [name for name in b.bed.files_of(self.machine) if not name.startswith("moves/")]
        if verdict == "STAYED" and left:
            wrong.append(f"STAYED, and the target still has {left}")
        return wrong

    def _bring_home(self) -> None:
        """The machine is on the first host again, whatever came of it."""
        a, b = self.pair.a, self.pair.b
        power = {} if self.is_off else {self.machine.domain: "RUNNING"}
        has_left = not a.bed.settings.machine_facts(self.machine.id).exists()
        if a.powers(self.machine) == power and not b.powers(self.machine) and not has_left:
            return
        for host in (a, b):
            for domain in host.bed.dom0().xl.domains():
                if domain.uuid == self.machine.id:
                    host.bed.dom0().xl.destroy(domain.domid)
            machine_files.forget(host.bed.dom0(), self.machine.id)
        if not b.bed.settings.disks_dir.is_symlink():
            shutil.rmtree(b.bed.settings.disks_dir / self.machine.id, ignore_errors=True)
        if self.is_off:
            machine_files.write_facts(a.bed.settings, self.machine, job_id=str(uuid.uuid4()))
            return
        start = self.pair.start(self.machine)
        assert start.event == "SUCCEEDED", start
