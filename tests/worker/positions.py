"""Interrupt a verb at each of its points, by kill -9 or by a cancel.

A point is before or after a change of the host (worker/failpoints.py). The order is executed in a forked
child; a new worker then continues, as after a restart, and the result is checked.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from devtools.fakexl import overlaps, state
from tests.worker.worker_host import WorkerHost, digest
from worker import failpoints
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import CancelJob, DiskSpec, MachineSpec, Order, Report

VERBS = ("create", "start", "shutdown", "poweroff", "reboot", "delete")
TEMPLATE_MIB = 2
KILLED = -signal.SIGKILL
LOOK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Trial:
    """Result of interrupting a verb at one point."""

    verb: str
    how: str
    point: int
    name: str
    end: Report
    seconds: float
    wrong: tuple[str, ...]
    #: the number of polls varies, so a late point is not reached in every trial
    is_reached: bool = True


class Range:
    """A host on which a verb is interrupted repeatedly; a second machine shows that nothing else is
    touched.
    """

    def __init__(self, worker_host: WorkerHost, *, timeout: int = 30, pool: str = "local") -> None:
        self.worker_host, self.pool = worker_host, pool
        #: every order's deadline, longer for a loaded machine
        self.timeout = timeout
        self._image = worker_host.template(size_mib=TEMPLATE_MIB)
        self.bystander = self._machine()
        self._do("create", self.bystander)
        self._bystanders_disk = digest(worker_host.disk(self.bystander))
        self._subject: MachineSpec | None = None

    def _do(self, verb: str, machine: MachineSpec) -> None:
        end = self.worker_host.do(self.worker_host.dom0(), verb, machine, deadline_seconds=self.timeout)
        assert end.event == "SUCCEEDED", end

    def _machine(self) -> MachineSpec:
        """A small machine, because its disk is read and compared after every trial."""
        return self.worker_host.machine(
            self._image, disks=(DiskSpec("root", self.pool, TEMPLATE_MIB + 1, "xvda"),)
        )

    def _running(self) -> list[str]:
        """Return what `xl list` would print, read from the stand-in directly because it is needed often."""
        with state.Store(
            self.worker_host.stand_in.directory, self.worker_host.settings.host
        ).locked() as known:
            return [domain.uuid for domain in known.domains.values()]

    def prepare(self, verb: str) -> MachineSpec:
        """Return a machine in the state that the verb needs; it is reused while it stays in it."""
        if verb == "create":
            return self._machine()
        if self._subject is None:
            self._subject = self._machine()
            self._do("create", self._subject)
        is_up = self._subject.id in self._running()
        if is_up and verb == "start":
            self._do("poweroff", self._subject)
        if not is_up and verb != "start":
            self._do("start", self._subject)
        return self._subject

    def names(self, verb: str) -> list[str]:
        """Return every point that an undisturbed verb passes."""
        machine = self.prepare(verb)
        order = self.worker_host.order(verb, machine, deadline_seconds=self.timeout)
        told: list[str] = []
        self._in_child(order, lambda name, _: told.append(name), lambda: told)
        end = self.worker_host.obey(self.worker_host.dom0(), order)
        assert end.event == "SUCCEEDED", end
        self._forget(machine, verb)
        return self._told

    def _in_child(
        self, order: Order, at_point: Callable[[str, int], object], result: Callable[[], list[str]]
    ) -> int:
        """Execute the order in a child process; return its exit code, negative for a signal."""
        into = self.worker_host.directory / "points"
        into.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            count = 0

            def reach(name: str) -> None:
                nonlocal count
                count += 1
                at_point(name, count)

            try:
                failpoints.listener = reach
                executor.obey(self.worker_host.dom0(), self.worker_host.envelope(order), now=int(time.time()))
                into.write_text("\n".join(result()))
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        self._told = into.read_text().splitlines() if into.exists() else []
        return os.waitstatus_to_exitcode(status)

    def kill(self, verb: str, point: int, name: str) -> Trial:
        """Kill the worker with SIGKILL at this point, and let the next one continue."""
        machine = self.prepare(verb)
        order = self.worker_host.order(verb, machine, deadline_seconds=self.timeout)
        runs = len(self.worker_host.stand_in.runs())

        def at_point(_name: str, count: int) -> None:
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)

        rc = self._in_child(order, at_point, list)
        started = time.monotonic()
        end = self._take_over(order)
        wrong = self._judge(verb, machine, end, runs)
        seconds = time.monotonic() - started
        trial = Trial(verb, "kill", point, name, end, seconds, tuple(wrong), is_reached=rc == KILLED)
        self._forget(machine, verb)
        return trial

    def kill_undo(self, verb: str, *, after: str, at: str) -> Trial:
        """Cancel the job after one point, and kill the worker at another while it undoes the job."""
        machine = self.prepare(verb)
        order = self.worker_host.order(verb, machine, deadline_seconds=self.timeout)
        runs = len(self.worker_host.stand_in.runs())
        journal = self.worker_host.dom0().journal

        def at_point(name: str, _count: int) -> None:
            if name == after:
                journal.ask_cancel(order.job_id)
            elif name == at and journal.is_cancel_asked(order.job_id):
                os.kill(os.getpid(), signal.SIGKILL)

        rc = self._in_child(order, at_point, list)
        started = time.monotonic()
        end = self._take_over(order)
        wrong = self._judge(verb, machine, end, runs)
        seconds = time.monotonic() - started
        return Trial(verb, "kill", 0, at, end, seconds, tuple(wrong), is_reached=rc == KILLED)

    def cancel(self, verb: str, point: int, name: str) -> Trial:
        """Cancel the job at this point; the worker is not killed."""
        machine = self.prepare(verb)
        order = self.worker_host.order(verb, machine, deadline_seconds=self.timeout)
        runs = len(self.worker_host.stand_in.runs())
        journal = self.worker_host.dom0().journal

        def at_point(_name: str, count: int) -> None:
            if count == point:
                journal.ask_cancel(order.job_id)

        self._in_child(order, at_point, list)
        started = time.monotonic()
        cancel = CancelJob(job_id=order.job_id, fence=order.fence, machine=machine)
        executor.obey(self.worker_host.dom0(), self.worker_host.envelope(cancel), now=int(time.time()))
        end = self.worker_host.end_of(order.job_id)
        wrong = self._judge(verb, machine, end, runs)
        trial = Trial(verb, "cancel", point, name, end, time.monotonic() - started, tuple(wrong))
        self._forget(machine, verb)
        return trial

    def _take_over(self, order: Order) -> Report:
        """A new worker reads its journal, and the portal sends the order again."""
        dom0 = self.worker_host.dom0()
        # Repeated, as on a host: children of the dead worker may hold the machine's lock a moment longer than
        # the worker.
        reconciler = Reconciler(dom0, interval_seconds=LOOK_AGAIN_SECONDS)
        reconciler.start()
        try:
            entry = dom0.journal.read(order.job_id)
            if entry is not None and entry.state != "ENDED":
                return self.worker_host.end_of(order.job_id, seconds=self.timeout + 60)
            return self.worker_host.obey(dom0, order)
        finally:
            reconciler.stop()

    def _judge(self, verb: str, machine: MachineSpec, end: Report, runs: int) -> list[str]:
        """Return the deviations."""
        worker_host = self.worker_host
        wrong = []
        if overlaps([worker_host.stand_in.directory / "running.jsonl"]):
            wrong.append("I1: a machine ran twice")
        running = self._running()
        up, has_disk = machine.id in running, worker_host.disk(machine).exists()
        wanted = WANTED[verb, end.event]
        if (up, has_disk) not in wanted:
            wrong.append(f"I5: {end.event}, but running={up} and disk={has_disk}")
        left = [name for name in worker_host.files_of(machine) if not name.startswith("journal/")]
        if not has_disk and left:
            wrong.append(f"I2: left behind: {', '.join(left)}")
        if any(name.endswith(".draft") for name in left):
            wrong.append("a draft was left behind")
        # A guest that was asked may shut down, or reappear, just after the check.
        is_sure = verb not in ("shutdown", "reboot") or end.event == "SUCCEEDED"
        if is_sure and (end.power == "RUNNING") != up and end.power != "UNKNOWN":
            wrong.append(f"it says {end.power}, but running={up}")
        allowed = 2 if verb == "reboot" else 1
        if len(worker_host.stand_in.runs()) - runs > allowed:
            wrong.append("it was started more often than asked for")
        entry = worker_host.dom0().journal.read(end.job_id)
        if entry is None or entry.state != "ENDED":
            wrong.append("I4: the job has not ended")
        if (
            self.bystander.id not in running
            or digest(worker_host.disk(self.bystander)) != self._bystanders_disk
        ):
            wrong.append("I2: another machine was touched")
        return wrong

    def _forget(self, machine: MachineSpec, verb: str) -> None:
        if verb == "create" and (self.worker_host.files_of(machine) or machine.id in self._running()):
            self._do("delete", machine)
        if verb == "delete" and not self.worker_host.disk(machine).exists():
            self._subject = None


#: (runs, has its disk) expected after each end of each verb
GONE, OFF, ON = (False, False), (False, True), (True, True)
WANTED: dict[tuple[str, str], set[tuple[bool, bool]]] = {
    ("create", "SUCCEEDED"): {ON},
    ("create", "FAILED"): {GONE},
    ("create", "CANCELLED"): {GONE},
    ("start", "SUCCEEDED"): {ON},
    ("start", "FAILED"): {OFF},
    ("start", "CANCELLED"): {OFF},
    ("shutdown", "SUCCEEDED"): {OFF},
    # the guest may have received it already: then the observed state is expected
    ("shutdown", "FAILED"): {ON, OFF},
    ("shutdown", "CANCELLED"): {ON, OFF},
    ("poweroff", "SUCCEEDED"): {OFF},
    ("poweroff", "CANCELLED"): {ON},
    ("reboot", "SUCCEEDED"): {ON},
    ("reboot", "FAILED"): {ON, OFF},
    ("reboot", "CANCELLED"): {ON, OFF},
    ("delete", "SUCCEEDED"): {GONE},
    ("delete", "CANCELLED"): {ON},
}
