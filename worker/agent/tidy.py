"""Removes old files of deleted machines and ended jobs, and Xen's logs of deleted domains.

A machine counts as gone when nothing on this host has its id any more (no directory, volume, domain or
journal entry) and no order for it came for 30 days. Files that are not certainly WebXen's, or that cannot be
read, are kept. Disks and directories of machines are never touched.
"""

import contextlib
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker import files
from worker.contract import UUID
from worker.errors import WorkerError
from worker.guest import machine_files
from worker.job.context import HostContext
from worker.job.journal import KEEP_SECONDS
from worker.xen.xl import XlError

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 3600.0
FIRST_SECONDS = 600.0
#: age of temporary files of interrupted writes
PARTIAL_SECONDS = 24 * 3600
#: Xen's logs of a domain, whose name ends in the first 8 digits of the machine's id
#: (webxen/machines/naming.py)
XEN_LOG = re.compile(
    r"(?:(?:xl|guest)-|qemu-dm-)(?P<domain>.+-(?P<fragment>[0-9a-f]{8}))(?:--incoming|--migratedaway)?"
    r"\.log(?:[.-][0-9]+)?(?:\.gz)?"
)


@dataclass(frozen=True)
class Present:
    """Ids of machines and jobs, and names of domains, that are on this host."""

    machines: frozenset[str]
    domains: frozenset[str]
    jobs: frozenset[str]


class Tidier:
    """Runs `forget_old` at most once an hour, and not in the first ten minutes after the start."""

    def __init__(self, dom0: HostContext, *, first_seconds: float = FIRST_SECONDS) -> None:
        self._dom0 = dom0
        self._due = time.monotonic() + first_seconds

    def look(self) -> None:
        """Remove old files if it is time. Logs errors instead of raising them; the next run tries again."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + INTERVAL_SECONDS
        try:
            forget_old(self._dom0, now=time.time())
        except (WorkerError, XlError, OSError) as error:
            logger.warning("old files stay for now: %s", error)


def forget_old(dom0: HostContext, *, now: float) -> None:
    """Remove old files. `now` is in seconds since the epoch.

    Raises WorkerError, XlError or OSError; where these come from determining what is on the host, nothing was
    removed.
    """
    present = _look(dom0)
    before = now - KEEP_SECONDS
    config = dom0.settings
    for path in (*config.journal_dir.glob("[!.]*.bad"), *config.journal_dir.glob("[!.]*.cancel")):
        if path.stem not in present.jobs:
            _remove(path, before)
    for path in config.moves_dir.glob("[!.]*"):
        if path.name.partition(".")[0] not in present.jobs:
            _remove(path, before)
    own_files = (config.fence_file("x").parent, config.receipt_file("x").parent)
    for directory in (config.journal_dir, config.moves_dir, *own_files):
        for path in directory.glob(".*.new"):
            _remove(path, now - PARTIAL_SECONDS)
    _forget_machines(dom0, present, before)


def _look(dom0: HostContext) -> Present:
    domains = dom0.xl.domains()
    entries = dom0.journal.entries()
    volumes = [volume.machine_id for pool in dom0.pools.all() for volume in pool.volumes()]
    uuids = [domain.uuid for domain in domains]
    machines = {*machine_files.machine_ids(dom0.settings), *volumes, *uuids}
    machines |= {entry.machine_id for entry in entries}
    return Present(
        machines=frozenset(machines),
        domains=frozenset(str(domain.name) for domain in domains),
        jobs=frozenset(entry.job_id for entry in entries),
    )


def _forget_machines(dom0: HostContext, present: Present, before: float) -> None:
    """Remove logs first and numbers last: while one exists, the next run recognizes the machine's logs."""
    config = dom0.settings
    fences = _by_machine(config.fence_file("x").parent)
    gone = {
        name: path
        for name, path in fences.items()
        if name not in present.machines and path.stat().st_mtime < before
    }
    here = {name[:8] for name in (fences.keys() - gone.keys()) | present.machines}
    fragments = {name[:8] for name in gone} - here
    kept: set[str] = set()
    for path, domain, fragment in _xen_logs(config.xen_log_dir):
        if fragment in fragments and (domain in present.domains or not _remove(path, before)):
            kept.add(fragment)
    # A receipt is removed with its fencing number. One without a number is removed at the same age.
    receipts = _by_machine(config.receipt_file("x").parent)
    for name in receipts.keys() - fences.keys() - present.machines:
        _remove(receipts[name], before)
    for name, path in gone.items():
        if name[:8] in kept or (name in receipts and not _remove(receipts[name], before)):
            continue
        if files.remove_lock(config.lock_file(name)):
            path.unlink(missing_ok=True)


def _by_machine(directory: Path) -> dict[str, Path]:
    return {path.name: path for path in directory.iterdir() if UUID.fullmatch(path.name)}


def _xen_logs(directory: Path) -> Iterator[tuple[Path, str, str]]:
    """Logs that may belong to WebXen's domains, with the domain's name and the first digits of the machine's
    id.
    """
    for folder in (directory, directory / "console"):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            for path in sorted(folder.iterdir()):
                if (named := XEN_LOG.fullmatch(path.name)) and path.is_file() and not path.is_symlink():
                    yield path, named["domain"], named["fragment"]


def _remove(path: Path, before: float) -> bool:
    """Remove a file not modified since `before` (seconds since the epoch). Returns False if it stays."""
    try:
        if path.lstat().st_mtime >= before:
            return False
        path.unlink()
    except FileNotFoundError:
        return True
    except OSError as error:
        logger.warning("%s stays: %s", path, error)
        return False
    return True
