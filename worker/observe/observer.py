"""What this host has, told to the portal on a clock and on change.

Lives here: gathering an Observation, and the loop that sends it, a thread of the agent. It acts on
nothing. A list that cannot be read is sent as "unknown" (None), never as "no domains".
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

from worker import shell, storage
from worker.contract import TASK_OBSERVATION, DomainSeen, Observation, PoolSeen
from worker.errors import WorkerError
from worker.guest import machine_files
from worker.identity import portal_keys
from worker.images import store
from worker.ipc import relay_client
from worker.ipc.sender import MessageSender
from worker.job.quiet import CachedWhileQuiet, QuietPeriod
from worker.job.reporting import PortalAway
from worker.observe.contents import MAX_ADDRESSES, MAX_MACHINES, HostContents
from worker.observe.foreign import Foreign
from worker.observe.probe import PoolProbe
from worker.observe.serial import Counter
from worker.settings import Settings
from worker.xen.xl import Domain, Xl, XlError

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
#: xl is asked again when a domain came or went, and this often: each time costs a small dom0 a third of
#: a second that a guest could boot in. Only a pause by hand, or memory given by hand, is seen this late.
DOMAINS_SECONDS = 20.0
FACTS_SECONDS = 60.0
#: several domains often come or go together: look once for all of them
SETTLE_SECONDS = 0.3
RETRY_WATCH_SECONDS = 5.0
MAX_KERNELS = 200


class Looking(Protocol):
    """What can be asked about Xen. All raise XlError and OSError."""

    def info(self) -> dict[str, str]: ...

    def domains(self) -> tuple[Domain, ...]: ...

    def configs(self) -> dict[int, dict[str, Any]]: ...


class CachedXl:
    """What xl said last, until something changes or it is too old. An error is never kept."""

    def __init__(self, xl: Looking, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._xl, self._clock = xl, clock
        self._info: tuple[float, dict[str, str]] | None = None
        self._domains: tuple[float, tuple[Domain, ...]] | None = None

    def forget(self) -> None:
        """Something has changed."""
        self._info = self._domains = None

    def configs(self) -> dict[int, dict[str, Any]]:
        """Not kept: who asks remembers."""
        return self._xl.configs()

    def info(self) -> dict[str, str]:
        if self._info is None or self._clock() - self._info[0] >= FACTS_SECONDS:
            self._info = None
            self._info = (self._clock(), self._xl.info())
        return self._info[1]

    def domains(self) -> tuple[Domain, ...]:
        if self._domains is None or self._clock() - self._domains[0] >= DOMAINS_SECONDS:
            self._domains = None
            domains = self._xl.domains()
            if any(domain.power != "RUNNING" for domain in domains):
                # on its way, as an arriving machine is before its GO; that it goes on rings no bell
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
    """Everything this host says of itself, now. What cannot be read is left out.

    `contents`, `pools` and `foreign` remember what they have read; without them everything is read anew.
    `serial` was taken before the look, so that of two the one with the higher number saw the later state.
    """
    machine_ids = machine_files.machine_ids(config)
    relay = read_relay(config)
    domains = read_domains(xl)
    holdings = (contents or HostContents(config)).look()
    addresses = (foreign or Foreign(xl)).addresses(domains, machine_ids)
    return Observation(
        host=config.host,
        facts=read_facts(xl),
        pools=pools() if pools is not None else read_pools(config, PoolProbe()),
        bridges=read_bridges(config.network_dir),
        domains=domains,
        images=store.known_digests(config.images_dir),
        worker_version=worker_version(),
        machine_ids=machine_ids[:MAX_MACHINES],
        # those of foreign domains first: the portal knows its own machines' addresses anyway
        holdings=replace(holdings, addresses=(addresses + holdings.addresses)[:MAX_ADDRESSES]),
        portal_keys=portal_keys.trusted(config.portal_key_file),
        serial=serial,
        relay_certificate=relay.certificate,
        relay_address=relay.address,
        kernels=read_kernels(config.kernels_dir),
        # last: looking takes its time, and the clock is to be read when the word goes out
        at=int(time.time()),
    )


def read_kernels(directory: Path) -> tuple[str, ...] | None:
    """Names of the kernels and ramdisks that guests can be started with."""
    try:
        return tuple(sorted(path.name for path in directory.iterdir() if path.is_file())[:MAX_KERNELS])
    except OSError as error:
        logger.warning("the kernels cannot be listed: %s", error)
        return None


def read_relay(config: Settings) -> relay_client.Identity:
    """By what and where other hosts find this host's relay; empty where there is none."""
    try:
        return relay_client.identify(config.relay_socket)
    except relay_client.RelayAway as error:
        logger.debug("%s", error)
        return relay_client.Identity("", "")


def read_facts(xl: Looking) -> dict[str, str]:
    try:
        return xl.info()
    except (XlError, OSError) as error:
        logger.warning("xl info cannot be read: %s", error)
        return {}


def read_domains(xl: Looking) -> tuple[DomainSeen, ...] | None:
    try:
        return tuple(seen(domain) for domain in xl.domains())
    except (XlError, OSError) as error:
        logger.warning("xl list cannot be read: %s", error)
        return None


def seen(domain: Domain) -> DomainSeen:
    return DomainSeen(
        domain=domain.name,
        uuid=domain.uuid,
        domid=domain.domid,
        power=domain.power,
        memory_mib=domain.memory_mib,
        vcpus=domain.vcpus,
        cpu_seconds=domain.cpu_seconds,
    )


def read_pools(config: Settings, probe: PoolProbe) -> tuple[PoolSeen, ...]:
    found = []
    for pool in storage.all_pools(config):
        try:
            found.append(probe.ask(pool.name, pool.probe))
        except (WorkerError, OSError) as error:
            logger.warning("pool %s cannot be read: %s", pool.name, error)
    return tuple(found)


def read_bridges(devices: Path) -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in devices.glob("*/bridge")))


def worker_version() -> str:
    try:
        return version("webxen")
    except PackageNotFoundError:  # run from a copied directory, as on a dom0
        return ""


class XenstoreWatcher:
    """Rings when a domain comes or goes, by a thread that listens to xenstore-watch, or when asked to.

    In a quiet period a ring is heard at its end: a look costs a small dom0 a second, in which a guest that
    moves would stand still, and one that boots would wait. What xl said before is told meanwhile, for as
    long as it may be (DOMAINS_SECONDS).
    """

    def __init__(self, config: Settings, *, quiet: QuietPeriod | None = None) -> None:
        self.quiet = quiet or QuietPeriod()
        self._program = config.xenstore_dir / "xenstore-watch"
        self._bell = threading.Event()
        self._is_listening = False
        self._thread = threading.Thread(target=self._run, name="xenstore-watcher", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """Somebody has come who wants to hear."""
        self._bell.set()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a ring, at most so long. May anything have changed: has it rung, or does nobody listen?"""
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
                    # xenstore-watch says one line for each watch as soon as it is set
                    self._is_listening = True
                    self._bell.set()
            finally:
                self._is_listening = False
                process.kill()


class CpuThrottle:
    """Rests three times as long as it worked: on one processor a guest's boot matters more than a digest."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, _part: float) -> None:
        worked = time.monotonic() - self._began
        time.sleep(min(3 * worked, 2.0))
        self._began = time.monotonic()


def check_images(config: Settings) -> None:
    """Compute digests of new templates, gently, so that the first machine need not wait for it."""
    # Since Linux 2.6 this is the calling thread's own niceness.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
    while True:
        try:
            for name in store.unchecked(config.images_dir):
                store.digest_of(config.images_dir, name, on_progress=CpuThrottle())
        except OSError as error:
            logger.warning("an image cannot be checked: %s", error)
        time.sleep(INTERVAL_SECONDS)


def observe_for_ever(config: Settings, xl: Xl, sender: MessageSender, watcher: XenstoreWatcher) -> None:
    probe, recent = PoolProbe(), CachedXl(xl)
    contents = HostContents(config, quiet=watcher.quiet, probe=probe)
    pools = CachedWhileQuiet(partial(read_pools, config, probe), watcher.quiet)
    foreign = Foreign(xl, quiet=watcher.quiet)
    counter = Counter(config.state_dir / "observation.serial")
    threading.Thread(target=check_images, args=(config,), name="images", daemon=True).start()
    while True:
        try:
            seen = gather(config, recent, contents, serial=counter.take(), pools=pools, foreign=foreign)
            sender.send(seen, task=TASK_OBSERVATION)
        except PortalAway as error:
            logger.warning("observation not sent: %s", error)
        except Exception:  # a thread of the agent: a bug must be seen, and not end what jobs depend on
            logger.exception("this host could not be looked at")
        if watcher.wait(INTERVAL_SECONDS):
            recent.forget()
