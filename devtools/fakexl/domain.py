"""A running domain of the stand-in: a process that holds the console's pty.

Covers that process from fork to its end, over reboots. SIGTERM and SIGUSR1 stand for xenstore's
control/shutdown "poweroff" and "reboot", SIGSTOP for `xl pause`. What the guest prints is in
`devtools.fakexl.guest`.
"""

import os
import pty
import select
import signal
import time
import traceback
import tty
from pathlib import Path
from typing import Literal

from devtools.fakexl import faults, settings, state
from devtools.fakexl.guest import Guest

#: as LIBXL_XENCONSOLE_LIMIT of xenconsoled: unread output beyond this is dropped
MAX_UNREAD = 1 << 20
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


def open_console() -> tuple[int, int, str]:
    """Open a pty in raw mode. Returns its master, its slave and the path of the slave."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    return master, slave, os.ttyname(slave)


def fork_domain(directory: Path, domain: state.Domain) -> None:
    """Start the process of a domain and store its pid in it. The caller holds the lock."""
    master, slave, domain.tty = open_console()
    # blocked, so that a signal sent before the new process handles it stays pending
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if pid == 0:
        _live(directory, domain, master, slave)
    os.close(master)
    os.close(slave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    domain.pid, domain.pid_start = pid, state.process_start(pid)
    marks = directory / "pids"
    marks.mkdir(exist_ok=True)
    (marks / str(pid)).write_text(domain.pid_start)


def _live(directory: Path, domain: state.Domain, master: int, slave: int) -> None:
    """Run as the domain. Never returns."""
    try:
        os.setsid()
        _let_go_of_files(keep=(master, slave))
        if domain.is_paused:
            os.kill(os.getpid(), signal.SIGSTOP)
        _Life(directory, domain, master, slave).run()
    except BaseException:  # noqa: BLE001 - the last place that can record why a domain died
        (directory / "domain-errors.log").open("a").write(traceback.format_exc())
    finally:
        (directory / "pids" / str(os.getpid())).unlink(missing_ok=True)
        os._exit(0)


def _let_go_of_files(*, keep: tuple[int, int]) -> None:
    """Close the files of the xl process: the lock, and its pipes, for whose end the caller waits."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for entry in list(Path("/proc/self/fd").iterdir()):
        fd = int(entry.name)
        if fd > 2 and fd not in keep:
            try:
                os.close(fd)
            except OSError:
                continue


class _Life:
    """The event loop of one domain process."""

    def __init__(self, directory: Path, domain: state.Domain, master: int, slave: int) -> None:
        self.directory, self.domain = directory, domain
        self.settings = settings.load(directory)
        self.store = state.Store(directory, self.settings.host)
        self.master, self.slave = master, slave
        self.unread = bytearray()
        self.wishes: list[Literal["poweroff", "reboot"]] = []
        wake_out, wake_in = os.pipe()
        os.set_blocking(wake_in, False)
        os.set_blocking(wake_out, False)
        self.wake = wake_out
        signal.signal(signal.SIGTERM, lambda *_: self.wishes.append("poweroff"))
        signal.signal(signal.SIGUSR1, lambda *_: self.wishes.append("reboot"))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(wake_in)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def run(self) -> None:
        while True:
            end = self._one_life()
            if end == "reboot" and self.domain.keys.get("on_reboot", "restart") == "restart":
                if self._come_back():
                    continue
                return
            self._leave({"poweroff": "-", "crash": "c"}.get(end, "r"))
            return

    def _one_life(self) -> str:
        guest = self._new_guest()
        brake_until = 0.0
        while not guest.end:
            now = time.monotonic()
            if guest.flood is not None and now >= brake_until and len(self.unread) < 16384:
                self._say(guest.pull(2048))
                brake_until = now + 2048 / self.settings.console_bytes_per_second
            self._wait(guest, brake_until)
            now = time.monotonic()
            while self.wishes:
                is_ignored = faults.read(self.directory).get("guest", {}).get("ignores_shutdown", False)
                guest.request(self.wishes.pop(0), now, is_ignored=is_ignored)
            self._say(guest.due(now))
            self._say(guest.feed(self._typed(), now))
        self._say(b"")
        return guest.end

    def _new_guest(self) -> Guest:
        domain, keys = self.domain, self.domain.keys
        return Guest(
            facts={
                "uuid": domain.uuid,
                "cmdline": keys["cmdline"],
                "hypervisor": "Xen PV" if domain.type == "pv" else "Xen HVM",
                "memory": domain.memory_mib * 1024,
                "vcpus": domain.vcpus,
                "vdev": domain.disks[0][1] if domain.disks else "xvda",
                "is_moved": keys.pop("is_moved", False),
            },
            hostname=_hostname(domain),
            boot_seconds=self.settings.boot_seconds,
            shutdown_seconds=self.settings.shutdown_seconds,
            faults=faults.read(self.directory).get("guest", {}),
            now=time.monotonic(),
        )

    def _wait(self, guest: Guest, brake_until: float) -> None:
        """Sleep until there is input, a request or something due."""
        now = time.monotonic()
        times = [at for at in (guest.next_at(),) if at is not None]
        if guest.flood is not None and len(self.unread) < 16384:
            times.append(brake_until)
        timeout = max(0.0, min(times) - now) if times else None
        writers = [self.master] if self.unread else []
        readable, _, _ = select.select([self.master, self.wake], writers, [], timeout)
        if self.wake in readable:
            os.read(self.wake, 4096)

    def _typed(self) -> bytes:
        try:
            return os.read(self.master, 4096)
        except BlockingIOError:
            return b""

    def _say(self, text: bytes) -> None:
        self.unread += text
        if len(self.unread) > MAX_UNREAD:
            del self.unread[: len(self.unread) - MAX_UNREAD]
        try:
            while self.unread:
                del self.unread[: os.write(self.master, self.unread)]
        except BlockingIOError:
            return

    def _leave(self, letter: str) -> None:
        """Remove the domain from the list, after a short time as an ended domain, as with
        xl's own watcher.
        """
        with self.store.locked() as known:
            mine = known.domains.get(self.domain.domid)
            if mine is not None:
                self.store.halted(mine, letter)
        time.sleep(self.settings.linger_seconds)
        with self.store.locked() as known:
            mine = known.domains.get(self.domain.domid)
            if mine is not None:
                self.store.stopped(known, mine)

    def _come_back(self) -> bool:
        """Start again as another domain. Returns False if the name was taken meanwhile."""
        self._leave("r")
        os.close(self.master)
        os.close(self.slave)
        time.sleep(self.settings.reboot_gap_seconds)
        with self.store.locked() as known:
            if known.by_name(self.domain.name) is not None:
                return False
            self.unread.clear()
            self.wishes.clear()
            self.master, self.slave, self.domain.tty = open_console()
            self.domain.domid = known.take_domid()
            self.domain.pid, self.domain.shutdown_letter, self.domain.pauses = os.getpid(), "", 0
            self.domain.pid_start = state.process_start(os.getpid())
            self.store.started(known, self.domain)
        return True


def _hostname(domain: state.Domain) -> str:
    """/etc/hostname on the domain's first disk if that is a bare ext file system, else the domain's name."""
    debugfs = Path("/sbin/debugfs")
    if domain.disks and debugfs.exists() and _is_ext(Path(domain.disks[0][0])):
        from worker import shell  # loads subprocess, which most domains never need

        found = shell.run([str(debugfs), "-R", "cat /etc/hostname", domain.disks[0][0]], timeout_seconds=5)
        if found.rc == 0 and (name := found.text.strip()):
            return name[:64]
    return domain.name


def _is_ext(path: Path) -> bool:
    try:
        with path.open("rb") as disk:
            disk.seek(1080)
            return disk.read(2) == b"\x53\xef"
    except OSError:
        return False
