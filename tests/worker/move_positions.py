"""Interrupt a migration at each of its points: a worker killed, the transport cut, xl killed, a cancel.

Each side's order is executed in a process of its own, as on two hosts. New workers continue what is left; an
unknown order is sent again, as the portal does, or cancelled. Then the portal's own outcome table is applied,
both hosts are told, and the recording is checked.
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

from tests.worker.console_bench import wait_for
from tests.worker.moving import Host, Pair
from tests.worker.quick_xl import QuickXl
from tests.worker.worker_host import WorkerHost, digest
from worker import contract, failpoints
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import DomainSeen, MoveMethod, Order, Report
from worker.guest import machine_files
from worker.ipc.relay_client import RelayAway
from worker.job.context import HostContext
from worker.job.journal import Journal
from worker.job.reporting import Reporter
from worker.relayd.daemon import Relayd

How = Literal["kill", "cut", "cancel", "cancel and kill"]
#: the name of a failpoint, and the number of its occurrence
Point = tuple[str, int]
FORK = mp.get_context("fork")
#: points where xl itself is killed, on either side
XL_STEPS = {
    "migrate": ("banner", "50 %", "suspended", "sent", "ready", "go", "reported"),
    "migrate-receive": ("received", "go", "renamed", "running"),
}
#: where the transport is cut during the copy of memory, in percent of its first pass
CUTS = (10, 50, 90)


def worker_of(worker_host: WorkerHost) -> HostContext:
    """A worker in another process whose reports go to a file."""
    journal = Journal(worker_host.settings.journal_dir)

    def tell(report: Report) -> None:
        with (worker_host.directory / "reports.jsonl").open("a") as out:
            out.write(json.dumps(contract.encode(report)) + "\n")

    dom0 = worker_host.dom0()
    return HostContext(
        settings=worker_host.settings,
        xl=QuickXl(worker_host.stand_in.xl),
        journal=journal,
        reporter=Reporter(tell, on_end_told=journal.mark_told),
        verify=dom0.verify,
    )


def reports_of(worker_host: WorkerHost, job_id: str) -> list[Report]:
    path = worker_host.directory / "reports.jsonl"
    # another process may be writing the last one
    lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
    found = [contract.decode(json.loads(line)) for line in lines]
    return [report for report in found if isinstance(report, Report) and report.job_id == job_id]


def end_of(worker_host: WorkerHost, job_id: str) -> Report | None:
    entry = Journal(worker_host.settings.journal_dir).read(job_id)
    if entry is None or entry.end is None or entry.state != "ENDED":
        return None
    end = contract.decode(entry.end)
    assert isinstance(end, Report)
    return end


def _be_worker(
    worker_host: WorkerHost, envelope: str, told: Path, at_point: Callable[[str, int], None]
) -> None:
    """Execute an order in this process, which ends with it."""
    counts: dict[str, int] = {}

    def reach(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1
        with told.open("a") as out:
            out.write(json.dumps([name, counts[name]]) + "\n")
        at_point(name, counts[name])

    failpoints.listener = reach
    dom0 = worker_of(worker_host)
    executor.obey(dom0, envelope, now=int(time.time()))
    dom0.reporter.flush(timeout_seconds=5)


def _look(worker_host: WorkerHost) -> None:
    Reconciler(worker_of(worker_host)).look()
    time.sleep(0.2)
    until = time.monotonic() + 60
    while time.monotonic() < until and any(
        entry.state != "ENDED" for entry in Journal(worker_host.settings.journal_dir).entries()
    ):
        time.sleep(0.05)


def _be_relayd(host: Host) -> None:
    Relayd(host.worker_host.settings).serve_for_ever()


@dataclass(frozen=True)
class Trial:
    """Result of interrupting a migration at one point."""

    how: str
    where: str
    verdict: str
    #: measured from the end of the last of the two processes
    seconds: float
    wrong: tuple[str, ...]
    is_reached: bool


@dataclass(frozen=True)
class Told:
    """Reports of one host about a migration or, without any, its observed state."""

    is_ordered: bool
    has_ended: bool
    is_refused: bool
    is_go_passed: bool
    is_closed: bool
    domains: tuple[DomainSeen, ...]


#: location of the machine: MOVED, STAYED or UNKNOWN, by the reports of source and target
Judge = Callable[[Told, Told], str]


def judge(source: Told, target: Told) -> str:
    """A simplified outcome table for tests without a portal; the campaign uses the portal's own."""
    here, there = source.domains, target.domains
    if any(domain.power == "RUNNING" for domain in there):
        return "MOVED"
    if any(domain.power == "RUNNING" for domain in here):
        return "STAYED"
    if target.is_go_passed:
        is_off_there = source.is_go_passed and source.has_ended
        return "MOVED" if there or (is_off_there and not here) else "STAYED" if here else "UNKNOWN"
    return "STAYED" if target.is_closed else "UNKNOWN"


class MoveRange:
    """Two hosts between which one machine is migrated repeatedly.

    `is_off`: for a cold migration, the machine is off before and after; otherwise it runs, and is shut down
    and started.
    """

    def __init__(self, pair: Pair, *, judge: Judge = judge, is_off: bool = False) -> None:
        self.pair, self._judge, self.is_off = pair, judge, is_off
        self._relays: dict[str, Any] = {}
        for host in (pair.a, pair.b):
            host.stop_relayd()
            self._start_relay(host)
        self.machine = pair.machine(memory_mib=64)
        pair.b.worker_host.listen()
        if is_off:
            pair.power_off(self.machine)
        self._content = digest(pair.a.worker_host.disk(self.machine))

    def _start_relay(self, host: Host) -> None:
        host.worker_host.settings.relay_socket.unlink(missing_ok=True)
        process = FORK.Process(target=_be_relayd, args=(host,))
        process.start()
        self._relays[host.name] = process
        wait_for(lambda: self._answers(host), "a relayd that answers", 60)

    @staticmethod
    def _answers(host: Host) -> bool:
        """The socket file exists a moment before the service listens."""
        try:
            return bool(host.certificate)
        except RelayAway:
            return False

    def close(self) -> None:
        for process in self._relays.values():
            process.kill()
            process.join()

    # --- one trial -----------------------------------------------------------------------------

    def names(self, method: MoveMethod = "LIVE") -> dict[str, list[Point]]:
        """Return every point that either side passes in an undisturbed migration."""
        trial = self._move(method=method)
        assert trial.verdict == "MOVED", trial
        assert not trial.wrong, trial
        return {side: self._told(side) for side in ("SOURCE", "TARGET")}

    def _told(self, side: str) -> list[Point]:
        lines = self._points_file(side).read_text().splitlines()
        return [(name, count) for name, count in map(json.loads, lines)]

    def _points_file(self, side: str) -> Path:
        return self.pair.a.worker_host.directory / f"points.{side}"

    def break_off(self, how: How, side: str, point: Point, *, method: MoveMethod = "LIVE") -> Trial:
        return self._move(method=method, how=how, side=side, point=point)

    def call_off(self, point: Point, *, method: MoveMethod = "LIVE") -> Trial:
        """Kill the source's worker before it knows of an order, which is not sent again."""
        return self._move(method=method, how="kill", side="SOURCE", point=point, is_rung=False)

    def kill_xl(self, verb: str, step: str) -> Trial:
        host = self.pair.a if verb == "migrate" else self.pair.b
        host.worker_host.stand_in.lay_out(**{verb: {"kill": True, "at": step, "times": 1}})
        try:
            return self._move(method="LIVE", how="kill", side=verb, point=(step, 1))
        finally:
            host.worker_host.stand_in.lay_out()

    def cut_at(self, percent: int, *, method: MoveMethod = "LIVE") -> Trial:
        """Kill both relays when this part of the memory has been sent."""
        verb = "migrate" if method == "LIVE" else "save"
        relays = [process.pid for process in self._relays.values()]
        self.pair.a.worker_host.stand_in.lay_out(**{verb: {"ends": relays, "at": f"{percent} %", "times": 1}})
        try:
            return self._move(method=method, how="cut", side=verb, point=(f"{percent} %", 1))
        finally:
            self.pair.a.worker_host.stand_in.lay_out()

    def _move(
        self,
        *,
        method: MoveMethod,
        how: How = "kill",
        side: str = "",
        point: Point = ("", 0),
        is_rung: bool = True,
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
        receiving = self._begin(b, receive, "TARGET", at_point("TARGET"))
        port = self._await_port(b, receive.job_id, receiving)
        if not port and self._is_unheard(b, receive):
            receiving = self._begin(b, receive, "TARGET")
            port = self._await_port(b, receive.job_id, receiving)
        if port:
            migrate = self.pair.migrate(receive, port, b)
            self._begin(a, migrate, "SOURCE", at_point("SOURCE")).join(60)
            if self._is_unheard(a, receive) and is_rung:
                self._begin(a, migrate, "SOURCE").join(60)
            elif self._is_unheard(a, receive):
                self.pair.cancel(a, migrate)
        began = time.monotonic()
        receiving.join(3)
        if receiving.is_alive():
            # The source never connected: the portal cancels the receive order.
            Journal(b.worker_host.settings.journal_dir).ask_cancel(receive.job_id)
            receiving.join(60)
        for host in (a, b):
            # a domain that was just killed is still listed, but does not answer
            if not self._answers(host):
                self._relays[host.name].kill()
                self._relays[host.name].join()
                self._start_relay(host)
        verdict = self._settle(receive.job_id, is_source_asked=bool(port))
        seconds = time.monotonic() - began
        wrong = self._wrong(verdict) + (self._wrong_disks(verdict) if is_cold else [])
        is_reached = side not in ("SOURCE", "TARGET") or point in self._told(side)
        self._bring_home()
        return Trial(how, f"{side} {point[0]}#{point[1]}", verdict, seconds, tuple(wrong), is_reached)

    def _is_unheard(self, host: Host, order: Order) -> bool:
        """The worker was killed before it recorded the order."""
        return Journal(host.worker_host.settings.journal_dir).read(order.job_id) is None

    def _do(self, how: How, job_id: str) -> None:
        if "cancel" in how:
            for host in (self.pair.a, self.pair.b):
                Journal(host.worker_host.settings.journal_dir).ask_cancel(job_id)
        if "kill" in how:
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "cut":
            for relay in self._relays.values():
                os.kill(relay.pid, signal.SIGKILL)

    def _begin(
        self, host: Host, order: Order, side: str, at_point: Callable[[str, int], None] = lambda *_: None
    ) -> Any:
        envelope = host.worker_host.envelope(order, host=host.name)
        arguments = (host.worker_host, envelope, self._points_file(side), at_point)
        process = FORK.Process(target=_be_worker, args=arguments)
        process.start()
        return process

    def _await_port(self, host: Host, job_id: str, process: Any) -> int:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            ports = [
                report.move.port for report in reports_of(host.worker_host, job_id) if report.move is not None
            ]
            if port := max(ports, default=0):
                return port
            if not process.is_alive():
                return 0
            time.sleep(0.02)
        return 0

    # --- afterwards ----------------------------------------------------------------------------

    def _settle(self, job_id: str, *, is_source_asked: bool) -> str:
        """Start new workers that continue, then do the portal's part."""
        a, b = self.pair.a, self.pair.b
        looks = [FORK.Process(target=_look, args=(host.worker_host,)) for host in (a, b)]
        for look in looks:
            look.start()
        for look in looks:
            look.join(90)
        source = self._told_by(a, job_id, is_asked=is_source_asked)
        target = self._told_by(b, job_id, is_asked=True)
        verdict = self._judge(source, target)
        if verdict == "UNKNOWN" or not self._clean(b, job_id, "TARGET", verdict):
            return "UNKNOWN"
        if is_source_asked and not self._clean(a, job_id, "SOURCE", verdict):
            return "UNKNOWN"
        return verdict

    def _told_by(self, host: Host, job_id: str, *, is_asked: bool) -> Told:
        end = end_of(host.worker_host, job_id)
        facts = end.move if end is not None else None
        shown = tuple(
            domain.as_seen()
            for domain in host.worker_host.dom0().xl.domains()
            if domain.uuid == self.machine.id
        )
        return Told(
            is_ordered=is_asked,
            has_ended=end is not None,
            is_refused=end is not None and end.event == "CANCELLED" and facts is None,
            is_go_passed=facts is not None and facts.go_passed,
            is_closed=facts is not None and facts.closed,
            domains=shown if facts is None or facts.domains is None else facts.domains,
        )

    def _clean(self, host: Host, job_id: str, side: contract.MoveSide, verdict: Any) -> bool:
        settle_id = contract.settle_job_id(job_id, side)
        order = contract.SettleMove(
            settle_id, self.pair.fence, self.machine, job_id, side, verdict, deadline_seconds=120
        )
        self._begin(host, order, "SETTLE").join(60)
        end = end_of(host.worker_host, settle_id)
        return end is not None and end.event == "SUCCEEDED"

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
        if not a.worker_host.disk(self.machine).exists():
            wrong.append("I2: the disk is lost")
        kept = {
            host.name: host.worker_host.settings.machine_facts(self.machine.id).exists() for host in (a, b)
        }
        if verdict in wanted and kept != {"xen1": verdict == "STAYED", "xen2": verdict == "MOVED"}:
            wrong.append(f"{verdict}, and machine.json is at {kept}")
        return wrong

    def _wrong_disks(self, verdict: str) -> list[str]:
        """Check that the source's disk is unchanged, and that the target has all of it or nothing."""
        a, b = self.pair.a, self.pair.b
        wrong = []
        if digest(a.worker_host.disk(self.machine)) != self._content:
            wrong.append("I2: the source's disk was written")
        copy = b.worker_host.disk(self.machine)
        if verdict == "MOVED" and (not copy.exists() or digest(copy) != self._content):
            wrong.append("I2: the target has not the disk that was carried over")
        left = [name for name in b.worker_host.files_of(self.machine) if not name.startswith("moves/")]
        if verdict == "STAYED" and left:
            wrong.append(f"STAYED, and the target still has {left}")
        return wrong

    def _bring_home(self) -> None:
        """Bring the machine back to the first host."""
        a, b = self.pair.a, self.pair.b
        power = {} if self.is_off else {self.machine.domain: "RUNNING"}
        has_left = not a.worker_host.settings.machine_facts(self.machine.id).exists()
        if a.powers(self.machine) == power and not b.powers(self.machine) and not has_left:
            return
        for host in (a, b):
            for domain in host.worker_host.dom0().xl.domains():
                if domain.uuid == self.machine.id:
                    host.worker_host.dom0().xl.destroy(domain.domid)
            machine_files.forget(host.worker_host.dom0(), self.machine.id)
        if not b.worker_host.settings.disks_dir.is_symlink():
            shutil.rmtree(b.worker_host.settings.disks_dir / self.machine.id, ignore_errors=True)
        if self.is_off:
            machine_files.write_facts(a.worker_host.settings, self.machine, job_id=str(uuid.uuid4()))
            return
        start = self.pair.start(self.machine)
        assert start.event == "SUCCEEDED", start
