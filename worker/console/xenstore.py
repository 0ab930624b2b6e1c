"""Reads from xenstore what consoles need: the domains, their uuids and their console devices.

Uses xenstore's command-line programs.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worker import shell

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
#: delay before `xenstore-watch` is started again after it ended
REST_SECONDS = 5.0


class XenstoreSilent(Exception):
    """xenstore could not be read, so nothing is known about any domain."""


@dataclass(frozen=True)
class Seat:
    """A domain's machine id and console device, from xenstore."""

    machine_id: str
    device: str


class Xenstore:
    """The parts of xenstore that consoles need."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def domids(self) -> set[int]:
        """Ids of all domains but Domain-0. Raises XenstoreSilent."""
        result = await self._run("xenstore-list", "/local/domain")
        if result is None:
            raise XenstoreSilent
        return {int(word) for word in result.split() if word.isdigit() and word != "0"}

    async def seats(self, domids: set[int]) -> dict[int, Seat]:
        """Machine id and console device of these domains. Domains that have none yet are left out."""
        if not domids:
            return {}
        ordered = sorted(domids)
        # one program for all; it stops at the first missing path, and then each domain is read separately
        found = self._seats(ordered, await self._read(ordered))
        if len(ordered) > 1 and len(found) < len(ordered):
            for domid in ordered:
                found.update(self._seats([domid], await self._read([domid])))
        return found

    async def _read(self, domids: list[int]) -> list[str]:
        paths = [f"/local/domain/{domid}/{leaf}" for domid in domids for leaf in ("vm", "console/tty")]
        result = await self._run("xenstore-read", *paths)
        return result.split() if result is not None else []

    @staticmethod
    def _seats(domids: list[int], words: list[str]) -> dict[int, Seat]:
        if len(words) != 2 * len(domids):
            return {}
        pairs = zip(words[::2], words[1::2], strict=True)
        seats = (Seat(vm.removeprefix("/vm/"), device) for vm, device in pairs)
        return dict(zip(domids, seats, strict=True))

    async def _run(self, program: str, *args: str) -> str | None:
        argv = [str(self._directory / program), *args]
        try:
            result = await asyncio.to_thread(shell.run, argv, timeout_seconds=LOOK_SECONDS)
        except (OSError, shell.CommandTimedOut) as error:
            log.warning("%s does not answer: %s", program, error)
            return None
        return result.text if result.rc == 0 else None


#: watches that fire when a domain comes or goes
COMINGS_AND_GOINGS = ("@introduceDomain", "@releaseDomain")


def consoles_of(domids: set[int]) -> tuple[str, ...]:
    """The paths at which xenconsoled publishes the consoles of these domains."""
    return tuple(f"/local/domain/{domid}/console/tty" for domid in sorted(domids))


class XenstoreWatcher:
    """`xenstore-watch` on some paths. It reports that something changed, not what."""

    def __init__(self, directory: Path, *paths: str) -> None:
        self._argv = [str(directory / "xenstore-watch"), *paths]

    async def run(self, ring: Callable[[], None]) -> None:
        """Call `ring` at once and at each change, until cancelled. Returns if the program does not exist."""
        while True:
            try:
                process = shell.listen(self._argv)
            except OSError as error:
                log.warning("no XenStore watch; looking at intervals only: %s", error)
                return
            try:
                await _ring_on_output(process.stdout, ring)
            finally:
                process.kill()
                process.wait()
            await asyncio.sleep(REST_SECONDS)


async def _ring_on_output(pipe: object, ring: Callable[[], None]) -> None:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        while await reader.read(4096):
            ring()
    finally:
        transport.close()
