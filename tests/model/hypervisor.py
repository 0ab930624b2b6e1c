"""A simulated Xen in memory behind the worker's `Xl`: prints what xl prints, and records when domains run.

It simulates calls, their faults, and actions of guests and administrators. Texts and recording are shared
with the stand-in program (`devtools.fakexl`); without its processes, a thousand histories take minutes. Time
advances only while code sleeps, see `simulated_hosts.Clock`.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devtools.fakexl import printing, recording, words
from devtools.fakexl.settings import Settings as Look
from devtools.fakexl.state import Domain, State
from worker import shell
from worker.xen import config
from worker.xen.xl import Xl, XlTimedOut

BOOTED = b"[    0.000000] Linux version 6.12\r\nRun /sbin/init as init process\r\n\r\nbox login: "
SHUTDOWN_SECONDS, REBOOT_GAP_SECONDS, LINGER_SECONDS = 3.0, 0.4, 0.7


@dataclass
class Fault:
    """Faults of the next calls of one verb."""

    #: before (nothing is done), after (it is done nevertheless), lie (exit status 0, nothing done), hang
    #: (done, but xl never ends), null_name, cut, empty
    how: str
    times: int = 1


class Hypervisor(Xl):
    """The Xen of one host."""

    def __init__(self, host: str, directory: Path, console_dir: Path, now: Callable[[], float]) -> None:
        super().__init__(f"/nowhere/{host}/xl")
        self.look = Look(host=host, total_memory_mib=4096, dom0_memory_mib=512)
        self.directory = directory
        self.console_dir = console_dir
        self.now = now
        self.state = State()
        self.faults: dict[str, Fault] = {}
        self.is_deaf: set[str] = set()
        #: called around each call, so that a worker can die there
        self.breathe: Callable[[], None] = lambda: None
        #: called with each effect: verb, uuid
        self.on_effect: Callable[[str, str], None] = lambda _verb, _uuid: None
        #: (time, action) of guests
        self._planned: list[tuple[float, Callable[[], None]]] = []

    # --- as called by the worker -----------------------------------------------------------------

    def _call(self, *arguments: str, timeout_seconds: float) -> shell.Result:
        self.breathe()
        self.tick()
        verb = arguments[0]
        fault = self._take_fault(verb)
        if fault == "before":
            result = self._result(arguments, 1, "", f"xl {verb}: something is wrong\n")
        elif fault == "lie" and verb not in ("list", "info"):
            result = self._result(arguments, 0, "", "")
        else:
            rc, out, err = self._do(verb, arguments)
            if fault == "after":
                rc, err = 1, f"xl {verb}: something went wrong at the end\n"
            result = self._result(arguments, rc, _spoiled(out, fault), err)
        self.breathe()
        if fault == "hang":
            raise XlTimedOut(f"xl {verb} did not end within {timeout_seconds:g} s")
        return result

    @staticmethod
    def _result(arguments: tuple[str, ...], rc: int, out: str, err: str) -> shell.Result:
        return shell.Result(("xl", *arguments), rc, out.encode(), err.encode())

    def _take_fault(self, verb: str) -> str:
        fault = self.faults.get(verb)
        if fault is None:
            return ""
        fault.times -= 1
        if fault.times <= 0:
            del self.faults[verb]
        return fault.how

    def _do(self, verb: str, arguments: tuple[str, ...]) -> tuple[int, str, str]:
        if verb == "info":
            return 0, printing.info(self.look, self.state), ""
        if verb == "list":
            everything = [printing.dom0(self.look), *self.state.domains.values()]
            return 0, printing.listing(everything, is_verbose=True), ""
        if verb == "create":
            return self._create(Path(arguments[-1]))
        domain = self.state.domains.get(int(arguments[1]))
        if domain is None:
            said, rc = words.ABSENT_DOMID[verb]
            return rc, "", said.format(domid=arguments[1])
        self.on_effect(verb, domain.uuid)
        if verb == "destroy":
            self._stop(domain)
        elif domain.uuid not in self.is_deaf:
            self._ask(verb, domain)
        return 0, "", ""

    def _create(self, path: Path) -> tuple[int, str, str]:
        facts = config.facts_of(config.parse(path.read_text()))
        domid = self.state.take_domid()
        if self.state.by_name(facts.name) is not None:
            return 3, "", words.name_taken(domid, facts.name)
        for disk in facts.disks:
            if not Path(disk.target).is_file():
                return 3, "", words.disk_unusable(f"failed to stat: {disk.target}")
        self.on_effect("create", facts.uuid)
        self._start(
            Domain(
                domid=domid,
                uuid=facts.uuid,
                name=facts.name,
                type="pvh",
                memory_mib=facts.memory_mib,
                maxmem_mib=facts.memory_mib,
                vcpus=facts.vcpus,
                keys={},
                disks=[[disk.target, disk.vdev, disk.is_writable] for disk in facts.disks],
            )
        )
        return 0, "", ""

    def _ask(self, verb: str, domain: Domain) -> None:
        done = self.now() + SHUTDOWN_SECONDS
        if verb == "shutdown":
            self._plan(done, lambda: self._halt(domain))
        elif verb == "reboot":
            self._plan(done, lambda: self._begin_anew(domain))

    # --- spontaneous events ----------------------------------------------------------------------

    def _plan(self, at: float, what: Callable[[], None]) -> None:
        self._planned.append((at, what))

    def tick(self) -> None:
        """Carry out the actions that are due."""
        while due := [item for item in self._planned if item[0] <= self.now()]:
            first = min(due, key=lambda item: item[0])
            self._planned.remove(first)
            first[1]()

    def _start(self, domain: Domain) -> None:
        self.state.domains[domain.domid] = domain
        self._record(domain, "START")
        with (self.console_dir / f"{domain.uuid}.log").open("ab") as log:
            log.write(BOOTED)

    def _stop(self, domain: Domain) -> None:
        if self.state.domains.pop(domain.domid, None) is not None and not domain.shutdown_letter:
            self._record(domain, "STOP")

    def _halt(self, domain: Domain) -> None:
        """End the guest; its domain keeps its name for a moment."""
        if domain.domid in self.state.domains and not domain.shutdown_letter:
            domain.shutdown_letter = "-"
            self._record(domain, "STOP")
            self._plan(self.now() + LINGER_SECONDS, lambda: self._stop(domain))

    def _begin_anew(self, domain: Domain) -> None:
        if domain.domid in self.state.domains and not domain.shutdown_letter:
            self._stop(domain)
            fresh = Domain(**{**vars(domain), "domid": self.state.take_domid()})
            # xl's watcher creates the new domain, unless the name is in use or a disk is gone
            self._plan(
                self.now() + REBOOT_GAP_SECONDS,
                lambda: self._start(fresh) if self._can_start(fresh) else None,
            )

    def _can_start(self, domain: Domain) -> bool:
        are_there = all(Path(target).is_file() for target, _, _ in domain.disks)
        return are_there and self.state.by_name(domain.name) is None

    def _record(self, domain: Domain, event: str) -> None:
        recording.record(
            self.directory,
            host=self.look.host,
            uuid=domain.uuid,
            name=domain.name,
            domid=domain.domid,
            event=event,  # type: ignore[arg-type]
        )

    # --- actions of administrators and guests ----------------------------------------------------

    def up(self) -> dict[str, Domain]:
        """Return the domains whose guests run, by uuid."""
        return {item.uuid: item for item in self.state.domains.values() if not item.shutdown_letter}

    def guest_powers_off(self, uuid: str) -> None:
        if uuid in self.up():
            self._halt(self.up()[uuid])

    def guest_reboots(self, uuid: str) -> None:
        if uuid in self.up():
            self._begin_anew(self.up()[uuid])

    def destroyed_by_hand(self, uuid: str) -> None:
        for domain in [item for item in self.state.domains.values() if item.uuid == uuid]:
            self._stop(domain)

    def power_cut(self) -> None:
        self._planned.clear()
        for domain in list(self.state.domains.values()):
            self._stop(domain)


def _spoiled(out: str, fault: str) -> str:
    if fault == "empty":
        return ""
    if fault == "cut":
        # the same text is always truncated at the same position
        return out[: random.Random(len(out)).randrange(len(out))]
    if fault == "null_name":
        head, _, rest = out.partition("\n")
        rows = [
            f"{'(null)':<40}{row[40:]}" if " Domain-0" not in f" {row}" and row else row
            for row in rest.split("\n")
        ]
        return "\n".join([head, *rows])
    return out
