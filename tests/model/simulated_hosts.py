"""Two simulated hosts with the real worker, message delivery to the portal, and a simulated clock.

The rules of `history` act on them. Orders pass through the portal's own dispatch into a broker in memory, and
from there into a list from which they are delivered, dropped, duplicated or delayed. Reports return the same
way, signed with the host's key.
"""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from devtools.fakexl import Overlap, overlaps
from tests.model.hypervisor import Hypervisor
from worker import contract
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.identity import keys
from worker.ipc.errors import PortalAway
from worker.job.context import HostContext
from worker.job.journal import Entry, Journal
from worker.job.reporting import Reporter
from worker.observe import observer
from worker.settings import Settings

IMAGE_FILE = "model.img"
IMAGE = b"a disk, as far as anybody here looks" * 100
IMAGE_SHA256 = hashlib.sha256(IMAGE).hexdigest()


class Killed(BaseException):
    """Ends the worker's process at this point, like kill -9."""


class Clock:
    """A simulated clock for all components: it advances while code sleeps, and in jumps."""

    def __init__(self, shift: Callable[[float], None]) -> None:
        self._shift = shift
        self._monotonic = time.monotonic
        self.passed = 0.0

    def monotonic(self) -> float:
        return self._monotonic() + self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds
        self._shift(seconds)


class FailpointCounter:
    """Counts the points at which a worker may die or another event may occur."""

    def __init__(self) -> None:
        self._left = 0
        self._action: Callable[[], None] | None = None

    def hold(self, *, after: int, action: Callable[[], None]) -> None:
        self._left, self._action = after, action

    @property
    def is_held(self) -> bool:
        return self._action is not None

    def let_go(self) -> None:
        self._action = None

    def take(self) -> None:
        if self._action is None:
            return
        self._left -= 1
        if self._left <= 0:
            action, self._action = self._action, None
            action()


class BreathingJournal(Journal):
    """The real journal; a worker may die just before and just after each write."""

    def __init__(self, directory: Path, site: "Site") -> None:
        super().__init__(directory)
        self.site = site

    def write(self, entry: Entry, *, is_urgent: bool = False) -> None:
        self.site.breath.take()
        super().write(entry, is_urgent=is_urgent)
        self.site.take_note(entry)
        self.site.acting = entry
        if entry.state == "ENDED":
            self.site.ended(entry)
        self.site.breath.take()

    def read(self, job_id: str) -> Entry | None:
        entry = super().read(job_id)
        if entry is not None:
            self.site.acting = entry
        return entry


class StraightReporter(Reporter):
    """Sends immediately in the caller's thread; the real sender does so a little later."""

    def __init__(self, site: "Site", on_end_told: Callable[[str], None]) -> None:
        self._site = site
        super().__init__(site.post, on_end_told=on_end_told)

    def tell(self, report: contract.Report) -> None:
        self._site.breath.take()
        # JobReporter between start and end may be lost; here most of it is, because hearing it takes longest.
        if report.event != "STEP" or report.step == "DOMAIN":
            self._deliver(report)
        self._site.breath.take()


class StraightReconciler(Reconciler):
    """Resumes jobs in the caller's thread, one after the other."""

    def _resume(self, job_id: str) -> None:
        executor.resume(self._dom0, job_id)


class Site:
    """A simulated dom0: its disk, its Xen, and a worker that can be killed and restarted."""

    def __init__(
        self, name: str, directory: Path, *, host_key: bytes, portal_public: bytes, clock: Clock
    ) -> None:
        self.name, self.directory, self.clock = name, directory, clock
        self.sign = keys.signer(host_key)
        (directory / "net/xenbr0/bridge").mkdir(parents=True)
        self.settings = Settings(
            host=name,
            broker_url="",
            state_dir=directory / "state",
            host_key_file=directory / "host.key",
            portal_key_file=directory / "portal.pub",
            xl=Path("/nowhere"),
            xenstore_dir=Path("/nowhere"),
            network_dir=directory / "net",
        )
        self.settings.make_directories()
        self.settings.portal_key_file.write_bytes(portal_public)
        self.settings.host_key_file.write_bytes(host_key)
        (self.settings.images_dir / IMAGE_FILE).write_bytes(IMAGE)
        (self.settings.kernels_dir / "vmlinuz").write_bytes(b"kernel")
        self.xen = Hypervisor(name, directory, self.settings.console_dir, clock.monotonic)
        self.breath = FailpointCounter()
        self.xen.breathe, self.xen.on_effect = self.breath.take, self._effect
        self.orders: list[str] = []
        self.reports: list[str] = []
        self.is_portal_away = False
        self.clock_ahead = 0
        self.acting: Entry | None = None
        #: highest fencing token of an ended job, by machine
        self.settled: dict[str, int] = {}
        self.built: dict[str, int] = {}
        self.wrongs: list[str] = []
        #: kind and fencing token of each job's order: the journal drops the order of an ended create
        self.known: dict[str, tuple[str, int]] = {}
        self.dom0, self.reconciler = self._boot()

    # --- the worker's processes ------------------------------------------------------------------

    def _boot(self) -> tuple[HostContext, Reconciler]:
        journal = BreathingJournal(self.settings.journal_dir, self)
        dom0 = HostContext(
            settings=self.settings,
            xl=self.xen,
            journal=journal,
            reporter=StraightReporter(self, journal.mark_told),
            verify=keys.read_verifier(self.settings.portal_key_file),
        )
        return dom0, StraightReconciler(dom0)

    def now(self) -> int:
        return int(time.time()) + self.clock_ahead

    def obey(self, envelope: str) -> None:
        with self._mortal():
            executor.obey(self.dom0, envelope, now=self.now())

    def look(self) -> None:
        """Run what the worker does at its start and every 30 seconds."""
        with self._mortal():
            self.reconciler.look()

    def observe(self) -> None:
        """Send an observation; the process that observes does not die with the worker."""
        breathe, self.xen.breathe = self.xen.breathe, lambda: None
        try:
            said = dataclasses.replace(observer.gather(self.settings, self.xen), at=self.now())
        finally:
            self.xen.breathe = breathe
        with contextlib.suppress(PortalAway):
            self.post(said)

    @contextlib.contextmanager
    def _mortal(self) -> Iterator[None]:
        try:
            yield
        except Killed:
            self.dom0, self.reconciler = self._boot()
        finally:
            self.acting = None

    def come_between(self, envelope: str) -> None:
        """Let another order arrive while one is being executed: another process of the same worker receives
        it.
        """
        acting = self.acting
        executor.obey(self.dom0, envelope, now=self.now())
        self.acting = acting

    def die(self) -> None:
        raise Killed

    def power_cut(self) -> None:
        """Lose all domains and the worker; its journal is then from an earlier boot."""
        self.xen.power_cut()
        self.dom0, self.reconciler = self._boot()
        journal = Journal(self.settings.journal_dir)
        for entry in journal.entries():
            if entry.state == "RUNNING":
                journal.write(dataclasses.replace(entry, boot_id="an earlier boot"))

    # --- message delivery ------------------------------------------------------------------------

    def post(self, message: contract.Report | contract.Observation) -> None:
        if self.is_portal_away:
            raise PortalAway("the wire is cut")
        self.reports.append(self.seal(message))

    def seal(self, message: contract.Report | contract.Observation) -> str:
        return contract.seal(message, host=self.name, sign=self.sign, not_after=self.now() + 24 * 3600)

    # --- queries ---------------------------------------------------------------------------------

    def _effect(self, verb: str, uuid: str) -> None:
        """No order may act on a machine for which a newer one has ended."""
        entry = self.acting
        if entry is None or entry.machine_id != uuid:
            self.wrongs.append(f"{self.name}: {verb} of {uuid} while acting on {entry and entry.machine_id}")
            return
        kind, fence = self.known[entry.job_id]
        if fence < self.settled.get(uuid, -1):
            self.wrongs.append(
                f"{self.name}: {kind} with fence {fence} does {verb} after {self.settled[uuid]}"
            )

    def take_note(self, entry: Entry) -> None:
        """Record the order of a journal entry."""
        if entry.envelope:
            order = json.loads(json.loads(entry.envelope)["signed"])["message"]
            self.known[entry.job_id] = (order["kind"], int(order["fence"]))

    def ended(self, entry: Entry) -> None:
        kind, fence = self.known[entry.job_id]
        self.settled[entry.machine_id] = max(fence, self.settled.get(entry.machine_id, -1))
        is_good = entry.end is not None and entry.end["event"] == "SUCCEEDED"
        if is_good and kind == "CREATE" and entry.machine_id not in self.built:
            found = self.disks().get(entry.machine_id)
            if found is None:
                self.wrongs.append(f"{self.name}: {entry.machine_id} was made without a disk")
            else:
                self.built[entry.machine_id] = found

    def disks(self) -> dict[str, int]:
        """Return the inode of each machine's finished disk."""
        return {path.parent.name: path.stat().st_ino for path in self.settings.disks_dir.glob("*/*.img")}

    def leftovers(self, machine_id: str) -> list[str]:
        found = self.settings.state_dir.rglob(f"*{machine_id}*")
        names = sorted(str(path.relative_to(self.settings.state_dir)) for path in found)
        return [name for name in names if not name.startswith(("fences/", "locks/", "console/", "receipts/"))]


class SimulatedHosts:
    """Both hosts."""

    def __init__(self, *, host_keys: dict[str, bytes], portal_public: bytes, clock: Clock) -> None:
        shm = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(prefix="wxmodel-", dir=shm if shm.is_dir() else None))
        self.sites = {}
        for name, key in host_keys.items():
            (self.directory / name).mkdir()
            self.sites[name] = Site(
                name, self.directory / name, host_key=key, portal_public=portal_public, clock=clock
            )

    def ran_twice(self) -> list[Overlap]:
        return overlaps([site.directory for site in self.sites.values()])

    def close(self) -> None:
        shutil.rmtree(self.directory)
