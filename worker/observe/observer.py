"""Gathers Observations of this host and sends them to the portal, periodically and on change.

Runs as a thread of the agent and changes nothing. A list that cannot be read is sent as unknown (None), never
as "no domains".
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from worker import shell
from worker.contract import TASK_OBSERVATION, DomainSeen, Observation, PoolSeen
from worker.errors import WorkerError
from worker.guest import machine_files
from worker.identity import portal_keys
from worker.images import store
from worker.ipc import relay_client
from worker.ipc.errors import PortalAway
from worker.ipc.sender import MessageSender
from worker.job.context import HostContext
from worker.job.quiet import CachedWhileQuiet, QuietPeriod
from worker.network.bridges import read_bridges
from worker.observe.contents import MAX_ADDRESSES, MAX_MACHINES, HostContents
from worker.observe.foreign import Foreign
from worker.observe.probe import PoolProbe
from worker.observe.serial import Counter
from worker.settings import Settings
from worker.storage import Pools
from worker.xen.xl import Domain, XlError

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
#: Age at which `xl list` is read again, beside when a domain comes or goes: each call takes a small dom0 a
#: third of a second, which a booting guest could use. Only a pause or a memory change made by hand is seen
#: this late.
DOMAINS_SECONDS = 20.0
FACTS_SECONDS = 60.0
#: several domains often come or go together: wait, then read once for all of them
SETTLE_SECONDS = 0.3
RETRY_WATCH_SECONDS = 5.0
MAX_KERNELS = 200


class Looking(Protocol):
    """What is read from Xen. All raise XlError and OSError."""

    def info(self) -> dict[str, str]: ...

    def domains(self) -> tuple[Domain, ...]: ...

    def configs(self) -> dict[int, dict[str, Any]]: ...


class CachedXl:
    """Caches what xl printed until something changes or it is too old. Errors are not cached."""

    def __init__(self, xl: Looking, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._xl, self._clock = xl, clock
        self._info: tuple[float, dict[str, str]] | None = None
        self._domains: tuple[float, tuple[Domain, ...]] | None = None

    def forget(self) -> None:
        """Clear the cache, because something has changed."""
        self._info = self._domains = None

    def configs(self) -> dict[int, dict[str, Any]]:
        """Not cached here; the caller keeps the result."""
        return self._xl.configs()

    def info(self) -> dict[str, str]:
        """`xl info`, at most FACTS_SECONDS old. Raises XlError, OSError."""
        if self._info is None or self._clock() - self._info[0] >= FACTS_SECONDS:
            self._info = None
            self._info = (self._clock(), self._xl.info())
        return self._info[1]

    def domains(self) -> tuple[Domain, ...]:
        """`xl list`, at most DOMAINS_SECONDS old. Raises XlError, OSError."""
        if self._domains is None or self._clock() - self._domains[0] >= DOMAINS_SECONDS:
            self._domains = None
            domains = self._xl.domains()
            if any(domain.power != "RUNNING" for domain in domains):
                # a domain that arrives is paused until its GO, and resuming it causes no event
                return domains
            self._domains = (self._clock(), domains)
        return self._domains[1]


def gather(
    config: Settings,
    xl: Looking,
    contents: HostContents | None = None,
    *,
    serial: int = 0,
    pools: Callable[[], tuple[PoolSeen, ...]] | None = None,
    foreign: Foreign | None = None,
) -> Observation:
    """A new Observation of this host. What cannot be read is left out or None.

    `contents`, `pools` and `foreign` cache what they have read; without them everything is read again.
    `serial` is taken before the read, so that of two observations the one with the higher number saw the
    later state.
    """
    machine_ids = machine_files.machine_ids(config)
    relay = read_relay(config)
    domains = read_domains(xl)
    holdings = (contents or HostContents(config)).look()
    addresses = (foreign or Foreign(xl)).addresses(domains, machine_ids)
    return Observation(
        host=config.host,
        facts=read_facts(xl),
        pools=pools() if pools is not None else read_pools(Pools(config), PoolProbe()),
        bridges=read_bridges(config.network_dir),
        domains=domains,
        images=store.known_digests(config.images_dir),
        worker_version=worker_version(),
        machine_ids=machine_ids[:MAX_MACHINES],
        # foreign domains first: the portal already knows its own machines' addresses
        holdings=replace(holdings, addresses=(addresses + holdings.addresses)[:MAX_ADDRESSES]),
        portal_keys=portal_keys.trusted(config.portal_key_file),
        serial=serial,
        relay_certificate=relay.certificate,
        relay_address=relay.address,
        kernels=read_kernels(config.kernels_dir),
        # last, because gathering takes time and the clock should be read when the message is sent
        at=int(time.time()),
    )


def read_kernels(directory: Path) -> tuple[str, ...] | None:
    """Names of the kernels and ramdisks that guests can be started with; None if they cannot be listed."""
    try:
        return tuple(sorted(path.name for path in directory.iterdir() if path.is_file())[:MAX_KERNELS])
    except OSError as error:
        logger.warning("the kernels cannot be listed: %s", error)
        return None


def read_relay(config: Settings) -> relay_client.Identity:
    """This host's relay certificate and address; empty if it has no relay."""
    try:
        return relay_client.identify(config.relay_socket)
    except relay_client.RelayAway as error:
        logger.debug("%s", error)
        return relay_client.Identity("", "")


def read_facts(xl: Looking) -> dict[str, str]:
    """The output of `xl info`; {} if it cannot be read."""
    try:
        return xl.info()
    except (XlError, OSError) as error:
        logger.warning("xl info cannot be read: %s", error)
        return {}


def read_domains(xl: Looking) -> tuple[DomainSeen, ...] | None:
    """All domains; None if the list cannot be read."""
    try:
        return tuple(domain.as_seen() for domain in xl.domains())
    except (XlError, OSError) as error:
        logger.warning("xl list cannot be read: %s", error)
        return None


def read_pools(pools: Pools, probe: PoolProbe) -> tuple[PoolSeen, ...]:
    """The pools that answer; others are left out."""
    found = []
    for pool in pools.all():
        try:
            found.append(probe.ask(pool.name, pool.probe))
        except (WorkerError, OSError) as error:
            logger.warning("pool %s cannot be read: %s", pool.name, error)
    return tuple(found)


def worker_version() -> str:
    """Version of the installed worker; "" if it is not installed as a package."""
    try:
        return version("webxen-worker")
    except PackageNotFoundError:  # run from a copied directory
        return ""


class XenstoreWatcher:
    """Wakes the observer when a domain comes or goes (by means of xenstore-watch), or when `ring` is called.

    In a quiet period a wake-up takes effect at the end of the period: an observation takes a small dom0 a
    second, during which a migrating guest would stay paused and a booting one would wait. Meanwhile cached
    values are sent, for at most DOMAINS_SECONDS.
    """

    def __init__(self, config: Settings, *, quiet: QuietPeriod | None = None) -> None:
        self.quiet = quiet or QuietPeriod()
        self._program = config.xenstore_dir / "xenstore-watch"
        self._bell = threading.Event()
        self._is_listening = False
        self._thread = threading.Thread(target=self._run, name="xenstore-watcher", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """Wake the observer now."""
        self._bell.set()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a wake-up, at most this long. Returns whether anything may have changed.

        That is so after a wake-up, and always while xenstore-watch does not run.
        """
        until = time.monotonic() + timeout_seconds
        has_rung = self._bell.wait(timeout_seconds)
        if has_rung:
            threading.Event().wait(SETTLE_SECONDS)
            while self.quiet.is_on and time.monotonic() < until:
                threading.Event().wait(SETTLE_SECONDS)
            if self.quiet.is_on:
                return not self._is_listening
        self._bell.clear()
        return has_rung or not self._is_listening

    def _run(self) -> None:
        while True:
            try:
                self._listen()
            except OSError as error:
                logger.warning("xenstore-watch does not start: %s", error)
            threading.Event().wait(RETRY_WATCH_SECONDS)

    def _listen(self) -> None:
        with shell.listen([str(self._program), "@introduceDomain", "@releaseDomain"]) as process:
            try:
                for _line in process.stdout or ():
                    # xenstore-watch prints one line for each watch as soon as it is set
                    self._is_listening = True
                    self._bell.set()
            finally:
                self._is_listening = False
                process.kill()


class CpuThrottle:
    """Sleeps three times as long as the work took: on one processor a guest's boot matters more than a
    digest.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, _part: float) -> None:
        worked = time.monotonic() - self._began
        time.sleep(min(3 * worked, 2.0))
        self._began = time.monotonic()


def check_images(config: Settings) -> None:
    """Compute digests of new images with little CPU, so that the first machine does not wait for them."""
    # On Linux the niceness is per thread (setpriority(2)).
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
    while True:
        try:
            for name in store.unchecked(config.images_dir):
                store.digest_of(config.images_dir, name, on_progress=CpuThrottle())
        except OSError as error:
            logger.warning("an image cannot be checked: %s", error)
        time.sleep(INTERVAL_SECONDS)


def observe_for_ever(
    dom0: HostContext, sender: MessageSender, watcher: XenstoreWatcher, *, on_round: Callable[[], None]
) -> None:
    """Send observations until the process ends. `on_round` is called before each of them."""
    config, xl = dom0.settings, dom0.xl
    probe, recent = PoolProbe(), CachedXl(xl)
    contents = HostContents(config, pools=dom0.pools, quiet=watcher.quiet, probe=probe)
    pools = CachedWhileQuiet(partial(read_pools, dom0.pools, probe), watcher.quiet)
    foreign = Foreign(xl, quiet=watcher.quiet)
    counter = Counter(config.state_dir / "observation.serial")
    threading.Thread(target=check_images, args=(config,), name="images", daemon=True).start()
    while True:
        on_round()
        try:
            seen = gather(config, recent, contents, serial=counter.take(), pools=pools, foreign=foreign)
            sender.send(seen, task=TASK_OBSERVATION)
        except PortalAway as error:
            logger.warning("observation not sent: %s", error)
        except Exception:  # the top of the thread: a bug is logged and must not end the agent
            logger.exception("this host could not be looked at")
        if watcher.wait(INTERVAL_SECONDS):
            recent.forget()
