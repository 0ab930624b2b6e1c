"""A portal with one host: the worker's code with the stand-in xl, in this process.

Orders go from the portal's queue to the worker, and reports and observations back, without a broker: the
tests check that both sides agree, not the transport.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fixtures import NOW, Mailbox, public_pem
from tests.worker.preloaded import preloaded
from tests.worker.quick_xl import QuickXl
from tests.worker.worker_host import WorkerHost
from webxen.inventory import operations as inventory
from webxen.inventory.models import Host, Image
from webxen.jobs import dispatch, observing, operations
from webxen.jobs.models import Job
from worker.contract import Report
from worker.observe import observer


class Site:
    """One host of the portal, and its messages."""

    def __init__(self, worker_host: WorkerHost, mailbox: Mailbox, key) -> None:
        self.worker_host, self.mailbox = worker_host, mailbox
        self.host = inventory.accept_host(name="xen1", public_key=public_pem(key), now=NOW)
        devices = worker_host.directory / "net/xenbr0/bridge"
        devices.mkdir(parents=True)
        worker_host.settings = dataclasses.replace(worker_host.settings, network_dir=devices.parents[1])
        self.dom0 = worker_host.dom0()
        self.xl = QuickXl(worker_host.stand_in.xl)
        self.look()

    @property
    def state(self) -> Path:
        return self.worker_host.state

    def look(self, *, now=NOW, **changed) -> None:
        """Send the host's observation, with the values of `changed` replaced."""
        at = {"at": int(now.timestamp())}
        said = dataclasses.replace(observer.gather(self.worker_host.settings, self.xl), **{**at, **changed})
        observing.apply_observation(host=self.host, observation=said, now=now)
        self.host = Host.objects.get(name=self.host.name)

    def send(self, job: Job) -> None:
        """Run what would happen after a commit of the test's transaction."""
        dispatch.send(job_id=job.id, now=job.created_at)

    def carry_out(self, job: Job, *, now=NOW) -> Job:
        """Let the host execute the next order, and apply its report."""
        self._obey_all(now)
        job.refresh_from_db()
        return job

    def turn(self, *, now) -> None:
        """Let the host execute all orders, and send an observation."""
        self._obey_all(now)
        self.look(now=now)

    def _obey_all(self, now) -> None:
        for order in self.mailbox.orders(self.host.name):
            self.worker_host.obey(self.dom0, dataclasses.replace(order, deadline_seconds=30))
            assert self.dom0.reporter.flush(timeout_seconds=10)
            for report in self.worker_host.reports:
                self.hear(report, now=now)
            self.worker_host.reports.clear()

    def hear(self, report: Report, *, now=NOW) -> None:
        operations.apply_report(host=self.host, report=report, now=now)

    def files(self) -> dict[str, tuple[int, int, bytes]]:
        """Return every file of the host with size, time and content, except the guests' growing output."""
        found = {}
        for path in sorted(self.worker_host.directory.rglob("*")):
            if path.is_file() and path.parent != self.worker_host.settings.console_dir:
                facts = path.stat()
                content = path.read_bytes() if facts.st_size < 1 << 20 else b""
                found[str(path)] = (facts.st_size, facts.st_mtime_ns, content)
        return found


@contextmanager
def running_site(directory: Path, mailbox: Mailbox, key) -> Iterator[Site]:
    """A host in this folder, with its stand-in programs installed."""
    worker_host = WorkerHost(directory)
    worker_host.listen()
    try:
        with preloaded():
            yield Site(worker_host, mailbox, key)
    finally:
        worker_host.close()


def register_image(worker_host: WorkerHost) -> Image:
    """The host's image, as registered in the portal."""
    spec = worker_host.template()
    return Image.objects.create(
        slug="minimal",
        name="Minimal",
        file=spec.file,
        sha256=spec.sha256,
        format=spec.format,
        kernel=spec.kernel,
        ramdisk=spec.ramdisk,
        min_disk_mib=24,
    )
