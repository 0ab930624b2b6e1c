"""What is stored on this host, for the portal's `verify`: volumes, fencing numbers, jobs that have not ended.

Reads the state directory for an Observation and changes nothing. What cannot be read is left out and marked
as unseen; it is never reported as "none".
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from worker.contract import MAX_RECEIPT, AddressSeen, FenceSeen, Holdings, JobSeen, VolumeSeen
from worker.errors import WorkerError
from worker.job.quiet import CachedWhileQuiet, QuietPeriod
from worker.observe.probe import PoolProbe
from worker.settings import Settings
from worker.storage import Pools
from worker.xen import config

logger = logging.getLogger(__name__)

#: An envelope holds 1 MiB. A volume takes some 230 bytes of it; an address, a fencing number or a job some
#: 110. All of these together stay below 900 KiB and leave the rest to domains and facts.
MAX_VOLUMES = 1500
MAX_FENCES = 1500
MAX_MACHINES = 1500
MAX_JOBS = 300
MAX_ADDRESSES = 1500
#: Receipts per observation: the newest, which a restored portal may not know, and some of the others in turn.
NEWEST_RECEIPTS = 4
OTHER_RECEIPTS = 4

T = TypeVar("T")


class Remembered(Generic[T]):
    """Reads the small files of a directory again only when they have changed."""

    def __init__(self, read: Callable[[Path], T]) -> None:
        self._read = read
        self._known: dict[str, tuple[int, T]] = {}

    def read(self, paths: list[Path]) -> list[tuple[Path, T]]:
        """Each file with its value, newest first. A file that disappears or cannot be read is left out."""
        found: list[tuple[int, Path, T]] = []
        for path in paths:
            try:
                changed = path.stat().st_mtime_ns
                known = self._known.get(str(path))
                value = known[1] if known and known[0] == changed else self._read(path)
            except (OSError, ValueError, TypeError, KeyError):
                continue
            found.append((changed, path, value))
        self._known = {str(path): (changed, value) for changed, path, value in found}
        return [(path, value) for _, path, value in sorted(found, key=lambda item: -item[0])]


class HostContents:
    """The content of this host's state directory, read repeatedly."""

    def __init__(
        self,
        settings: Settings,
        *,
        pools: Pools | None = None,
        quiet: QuietPeriod | None = None,
        probe: PoolProbe | None = None,
    ) -> None:
        self._settings = settings
        self._pools = pools or Pools(settings)
        self._probe = probe or PoolProbe()
        self._volumes = CachedWhileQuiet(self._read_volumes, quiet or QuietPeriod())
        self._fences = Remembered(lambda path: int(path.read_text()))
        self._entries = Remembered(_open_machine_of)
        self._configs = Remembered(_addresses_in)
        self._receipts = Remembered(_receipt_in)
        self._turn = 0

    def look(self) -> Holdings:
        """Read the content of the state directory. Long lists are cut, with `is_cut` set."""
        volumes, pools = self._volumes()
        machines = [
            path.parent.name for path in sorted(self._settings.machines_dir.glob("[!.]*/machine.json"))
        ]
        fences = self._fences.read(list(self._settings.fence_file("x").parent.glob("[!.]*")))
        entries = self._entries.read(list(self._settings.journal_dir.glob("[!.]*.json")))
        jobs = [JobSeen(path.stem, machine_id) for path, machine_id in entries if machine_id]
        return Holdings(
            volumes=tuple(volumes[:MAX_VOLUMES]),
            pools=tuple(pools),
            machines=tuple(machines[:MAX_MACHINES]),
            # the newest: a number matters for machines that had a job lately
            fences=tuple(FenceSeen(path.name, fence) for path, fence in fences[:MAX_FENCES]),
            jobs=tuple(jobs[:MAX_JOBS]),
            is_cut=len(volumes) > MAX_VOLUMES or len(machines) > MAX_MACHINES or len(jobs) > MAX_JOBS,
            addresses=self._read_addresses(),
            receipts=self._read_receipts(),
        )

    def _read_addresses(self) -> tuple[AddressSeen, ...]:
        configs = self._configs.read(list(self._settings.machines_dir.glob("[!.]*/machine.cfg")))
        found = [
            AddressSeen(path.parent.name, bridge, ipv4) for path, nics in configs for bridge, ipv4 in nics
        ]
        return tuple(found[:MAX_ADDRESSES])

    def _read_receipts(self) -> tuple[str, ...]:
        """The newest, and some of the others, continuing where the last call stopped."""
        files = self._receipts.read(list(self._settings.receipt_file("x").parent.glob("[!.]*")))
        texts = [text for _, text in files if text]
        newest, others = texts[:NEWEST_RECEIPTS], texts[NEWEST_RECEIPTS:]
        start = self._turn if self._turn < len(others) else 0
        self._turn = start + OTHER_RECEIPTS
        return tuple(newest + others[start : start + OTHER_RECEIPTS])

    def _read_volumes(self) -> tuple[list[VolumeSeen], list[str]]:
        found: list[VolumeSeen] = []
        pools: list[str] = []
        for pool in self._pools.all():
            try:
                found += self._probe.ask(pool.name, pool.volumes)
            except (WorkerError, OSError) as error:
                logger.warning("the volumes of pool %s cannot be listed: %s", pool.name, error)
            else:
                pools.append(pool.name)
        return found, pools


def _open_machine_of(path: Path) -> str:
    """The machine id of a journal entry whose job has not ended; "" for one that has."""
    entry = json.loads(path.read_bytes())
    return "" if entry["state"] == "ENDED" else str(entry["machine_id"])


def _addresses_in(path: Path) -> tuple[tuple[str, str], ...]:
    """Bridge and address of each network card in a configuration; () if it cannot be read."""
    try:
        nics = config.facts_of(config.parse(path.read_text())).nics
    except config.BadConfig as error:
        logger.warning("%s cannot be read: %s", path, error)
        return ()
    return tuple((nic.bridge, nic.ip) for nic in nics if nic.ip)


def _receipt_in(path: Path) -> str:
    """The text of a receipt; "" if the file is too long to be one."""
    text = path.read_text()
    return text if len(text) <= MAX_RECEIPT else ""
