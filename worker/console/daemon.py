"""`python -m worker.console.daemon`: holds every domain's console from its start, and copies it to Redis.

Decides which domains are WebXen's, attaches to their consoles and detaches. Output goes pty -> log file
(`log`) -> Redis (`stream`), and input the other way. It is one process and starts few programs, because a
software-emulated dom0 is slow.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from worker import broker_check, core_dumps, settings
from worker.console.device import ConsoleBusy, Pty, open_pty
from worker.console.log import ConsoleLog
from worker.console.stream import Stream, Uplink, end_tasks
from worker.console.xenstore import (
    COMINGS_AND_GOINGS,
    Seat,
    Xenstore,
    XenstoreSilent,
    XenstoreWatcher,
    consoles_of,
)
from worker.contract import UUID
from worker.watchdog import Watchdog

log = logging.getLogger(__name__)

#: the watcher reports most changes; a full pass costs a slow dom0 a second
CLOCK_SECONDS = 15.0
#: A domain that has no console yet is looked at again this soon, this often. Later only a watch on its
#: console path is used: a domain that is being migrated here has none until all of its memory has arrived.
SOON_SECONDS = 1.0
SOON_TIMES = 3
SWEEP_SECONDS = 3600
#: how long the log of a deleted machine is kept as evidence
EVIDENCE_SECONDS = 24 * 3600
REAL_XENSTORE_DIRS = (Path("/usr/bin"), Path("/usr/sbin"), Path("/bin"))


@dataclass
class Attached:
    """A console that this process holds."""

    domid: int
    device: str
    pty: Pty


class Consoles:
    """All consoles of this host."""

    def __init__(self, config: settings.Settings, *, lock_dir: Path | None) -> None:
        self._config = config
        self._lock_dir = lock_dir
        self._xenstore = Xenstore(config.xenstore_dir)
        self._attached: dict[str, Attached] = {}
        #: the machine and console of each domain; None: read, but not there yet
        self._seats: dict[int, Seat | None] = {}
        self._tries: dict[int, int] = {}
        #: consoles that have ended: another domain may use their device by now
        self._ended: set[tuple[int, str]] = set()
        self._bell = asyncio.Event()
        #: the domains without a console, and the task that watches for their consoles
        self._waiting: set[int] = set()
        self._waiter: asyncio.Task[None] | None = None
        self._has_domain_changed = False
        self.uplink = Uplink(config.broker_url, self)

    def ring(self) -> None:
        """Wake `run` because a domain came or went."""
        self._has_domain_changed = True
        self._bell.set()

    def _ring_for_console(self) -> None:
        """Wake `run` because a domain may have its console now."""
        self._bell.set()

    async def run(self) -> None:
        """Look at the domains at each wake-up, and periodically."""
        swept_at = -float(SWEEP_SECONDS)
        while True:
            if time.monotonic() - swept_at > SWEEP_SECONDS:
                await self._sweep()
                swept_at = time.monotonic()
            is_soon = any(tries < SOON_TIMES for tries in self._tries.values())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SOON_SECONDS if is_soon else CLOCK_SECONDS):
                    await self._bell.wait()
            is_ringing, has_domain_changed = self._bell.is_set(), self._has_domain_changed
            self._bell.clear()
            self._has_domain_changed = False
            if is_ringing and not has_domain_changed:
                await self._look_for_consoles()
            else:
                await self.look(is_ringing=is_ringing)

    def close(self) -> None:
        """Detach all consoles."""
        self._listen_for(set())
        for machine_id in list(self._attached):
            self._detach(machine_id, "the host's console service is stopping")

    async def look(self, *, is_ringing: bool) -> None:
        """Compare the consoles held here with the domains that exist."""
        self._open_logs()
        try:
            domids = await self._xenstore.domids()
        except XenstoreSilent:
            return  # the consoles stay: a pty reports an error when its domain ends
        await self._ask(domids, is_ringing=is_ringing)
        for machine_id, held in list(self._attached.items()):
            if held.domid not in domids:
                self._detach(machine_id, "the machine is not running")
        await self._compare()

    async def _look_for_consoles(self) -> None:
        """Read only the domains without a console: an arriving guest is paused on this
        processor just then.
        """
        self._seats.update(await self._xenstore.seats(self._waiting & self._seats.keys()))
        self._tries = {domid: tries for domid, tries in self._tries.items() if self._seats.get(domid) is None}
        await self._compare()

    async def _compare(self) -> None:
        """Detach consoles that are no longer WebXen's and attach new ones."""
        for machine_id, held in list(self._attached.items()):
            if self._seats.get(held.domid) != Seat(machine_id, held.device) or self._is_passed_on(held):
                self._detach(machine_id, "the domain changed")  # never another machine's console
        for domid, seat in list(self._seats.items()):
            if seat and seat.machine_id in self.uplink.streams and seat.machine_id not in self._attached:
                await self._attach(domid, seat)
        self.uplink.hear(self._attached)
        self._listen_for({domid for domid, seat in self._seats.items() if seat is None})

    def _listen_for(self, domids: set[int]) -> None:
        """Watch for the consoles of these domains."""
        if domids == self._waiting:
            return
        self._waiting = domids
        if self._waiter is not None:
            self._waiter.cancel()
            self._waiter = None
        if domids:
            bell = XenstoreWatcher(self._config.xenstore_dir, *consoles_of(domids))
            self._waiter = asyncio.create_task(bell.run(self._ring_for_console))

    async def _ask(self, domids: set[int], *, is_ringing: bool) -> None:
        """Read machine and console of new domains and, after a wake-up, also of those already attached."""
        for domid in self._seats.keys() - domids:
            self._seats.pop(domid)
            self._tries.pop(domid, None)
        self._ended = {(domid, device) for domid, device in self._ended if domid in domids}
        held = {attached.domid for attached in self._attached.values()} if is_ringing else set()
        ended = {domid for domid, _ in self._ended}
        wanted = {domid for domid in domids if self._seats.get(domid) is None} | (held & domids) | ended
        found = await self._xenstore.seats(wanted)
        for domid in wanted:
            self._seats[domid] = found.get(domid)
            self._tries[domid] = 0 if domid in found else self._tries.get(domid, 0) + 1
            if domid in found:
                self._tries.pop(domid)

    def _is_passed_on(self, held: Attached) -> bool:
        """Whether a newer domain has the same device."""
        return any(
            seat is not None and seat.device == held.device and domid > held.domid
            for domid, seat in self._seats.items()
        )

    async def _attach(self, domid: int, seat: Seat) -> None:
        if (domid, seat.device) in self._ended:
            return
        stream = self.uplink.streams[seat.machine_id]

        def on_bytes(data: bytes) -> None:
            stream.log.append(data)
            self.uplink.wake()

        def on_end() -> None:
            self._ended.add((domid, seat.device))
            if self._attached.pop(seat.machine_id, None):
                self._tell(stream, "detached", "the machine is not running")
            self.uplink.hear(self._attached)
            self.ring()

        try:
            pty = open_pty(
                seat.device,
                lock_path=self._lock_dir / f"xenconsole.{domid}" if self._lock_dir else None,
                on_bytes=on_bytes,
                on_drain=self.uplink.listen_again,
                on_end=on_end,
            )
        except ConsoleBusy as error:
            self._tell(stream, "detached", str(error))
            return
        self._attached[seat.machine_id] = Attached(domid, seat.device, pty)
        # the device may have been reused between reading its name and opening it
        if (await self._xenstore.seats({domid})).get(domid) != seat:
            if seat.machine_id in self._attached:
                self._detach(seat.machine_id, "the domain changed")
        elif seat.machine_id in self._attached:
            log.info("attached %s (domain %d) at %s", seat.machine_id, domid, seat.device)
            self._tell(stream, "attached", "")

    def _detach(self, machine_id: str, reason: str) -> None:
        self._attached.pop(machine_id).pty.close()
        self._tell(self.uplink.streams[machine_id], "detached", reason)

    def _tell(self, stream: Stream, state: str, reason: str) -> None:
        if stream.set_state(state, reason):
            log.info("%s is %s %s", stream.log.machine_id, state, reason)
            self.uplink.wake()

    def is_full(self, machine_id: str) -> bool:
        """Whether the machine accepts no input for now."""
        attached = self._attached.get(machine_id)
        return attached is not None and attached.pty.is_full

    def type_at(self, machine_id: str, data: bytes) -> None:
        """Type at a machine. Does nothing if no console is attached."""
        attached = self._attached.get(machine_id)
        if attached is not None:
            attached.pty.write(data)

    def _open_logs(self) -> None:
        """Open the log of each machine that has a directory here: the worker makes it before `xl create`."""
        if not self._config.machines_dir.is_dir():
            return
        for path in self._config.machines_dir.iterdir():
            if path.name not in self.uplink.streams and UUID.fullmatch(path.name):
                console_log = ConsoleLog(self._config.console_dir, path.name)
                self.uplink.streams[path.name] = Stream(self._config.host, console_log)
                self.uplink.wake()

    async def _sweep(self) -> None:
        """Remove the consoles of deleted machines after a day."""
        for path in self._config.console_dir.glob("*.log"):
            machine_id = path.stem
            is_ours = self._config.machine_dir(machine_id).exists() or machine_id in self._attached
            if is_ours or time.time() - path.stat().st_mtime < EVIDENCE_SECONDS:
                continue
            stream = self.uplink.streams.pop(machine_id, None)
            stream = stream or Stream(self._config.host, ConsoleLog(self._config.console_dir, machine_id))
            await self.uplink.forget(stream)
            stream.log.close()
            path.unlink(missing_ok=True)
            path.with_name(f"{machine_id}.start.json").unlink(missing_ok=True)


def lock_directory(config: settings.Settings) -> Path | None:
    """The directory of `xl console`'s locks; None with the stand-in xl, whose domids are not
    this machine's.
    """
    if config.xenstore_dir not in REAL_XENSTORE_DIRS:
        return None
    path = Path("/var/lock")
    return path if path.is_dir() else None


async def serve(config: settings.Settings) -> None:
    """Run until SIGTERM."""
    # Only its own folder: it may not write the worker's other files.
    config.console_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    consoles = Consoles(config, lock_dir=lock_directory(config))
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await consoles.look(is_ringing=True)  # before the first state is published, so that it is correct
    watchdog = Watchdog(os.environ)
    watchdog.say_ready()
    tasks = [
        asyncio.create_task(work)
        for work in (
            consoles.run(),
            consoles.uplink.publish(),
            consoles.uplink.listen(),
            XenstoreWatcher(config.xenstore_dir, *COMINGS_AND_GOINGS).run(consoles.ring),
            _say_alive(watchdog),
            stop.wait(),
        )
    ]
    try:
        stopping = tasks[-1]
        while not stopping.done():
            done, _ = await asyncio.wait(
                [task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()  # a bug ends the process with its traceback, and systemd restarts it
    finally:
        watchdog.say_stopping()
        await end_tasks(*tasks)
        consoles.close()
        await consoles.uplink.publish_last()


async def _say_alive(watchdog: Watchdog) -> None:
    """From the loop that everything here runs in: where that hangs, nothing is said."""
    while True:
        watchdog.say_alive()
        await asyncio.sleep(watchdog.interval_seconds)


def main() -> None:
    core_dumps.forbid()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config = settings.read(os.environ)
    broker_check.refuse_open_broker(config)
    asyncio.run(serve(config))


if __name__ == "__main__":
    main()
