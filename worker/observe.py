"""What this host has, told to the portal on a clock and on change.

Lives here: gathering an Observation, and the loop that sends it, a thread of the cellar. It acts on
nothing. A list that cannot be read is sent as "unknown" (None), never as "no domains".
"""

import logging
import os
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from worker import images, machine_files, portal_keys, relay_link, shell, storage
from worker.contract import TASK_OBSERVATION, DomainSeen, Observation, PoolSeen
from worker.errors import WorkerError
from worker.holdings import MAX_MACHINES, Shelf
from worker.postman import Postman
from worker.reporting import PortalAway
from worker.settings import Settings
from worker.xl import Domain, Xl, XlError

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
#: several domains often come or go together: look once for all of them
SETTLE_SECONDS = 0.3
RETRY_WATCH_SECONDS = 5.0


def gather(config: Settings, xl: Xl, shelf: Shelf | None = None) -> Observation:
    """Everything this host says of itself, now. What cannot be read is left out.

    `shelf` remembers what it has read; without one everything is read anew.
    """
    machine_ids = machine_files.machine_ids(config)
    relay = read_relay(config)
    return Observation(
        host=config.host,
        facts=read_facts(xl),
        pools=read_pools(config),
        bridges=read_bridges(config.network_dir),
        domains=read_domains(xl),
        images=images.known_digests(config.images_dir),
        worker_version=worker_version(),
        machine_ids=machine_ids[:MAX_MACHINES],
        holdings=(shelf or Shelf(config)).look(),
        portal_keys=portal_keys.trusted(config.portal_key_file),
        relay_certificate=relay.certificate,
        relay_address=relay.address,
    )


def read_relay(config: Settings) -> relay_link.Identity:
    """By what and where other hosts find this host's relay; empty where there is none."""
    try:
        return relay_link.identify(config.relay_socket)
    except relay_link.RelayAway as error:
        logger.debug("%s", error)
        return relay_link.Identity("", "")


def read_facts(xl: Xl) -> dict[str, str]:
    try:
        return xl.info()
    except (XlError, OSError) as error:
        logger.warning("xl info cannot be read: %s", error)
        return {}


def read_domains(xl: Xl) -> tuple[DomainSeen, ...] | None:
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


def read_pools(config: Settings) -> tuple[PoolSeen, ...]:
    found = []
    for pool in storage.all_pools(config):
        try:
            found.append(pool.probe())
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


class Doorbell:
    """Rings when a domain comes or goes, by a thread that listens to xenstore-watch, or when asked to."""

    def __init__(self, config: Settings) -> None:
        self._program = config.xenstore_dir / "xenstore-watch"
        self._bell = threading.Event()
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """Somebody has come who wants to hear."""
        self._bell.set()

    def wait(self, timeout_seconds: float) -> None:
        """Wait for a ring, at most so long."""
        if self._bell.wait(timeout_seconds):
            threading.Event().wait(SETTLE_SECONDS)
        self._bell.clear()

    def _run(self) -> None:
        while True:
            try:
                self._listen()
            except OSError as error:
                logger.warning("xenstore-watch does not start: %s", error)
            threading.Event().wait(RETRY_WATCH_SECONDS)

    def _listen(self) -> None:
        process = shell.listen([str(self._program), "@introduceDomain", "@releaseDomain"])
        try:
            for _line in process.stdout or ():
                self._bell.set()
        finally:
            process.kill()
            process.wait()


class Gentle:
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
            for name in images.unchecked(config.images_dir):
                images.digest_of(config.images_dir, name, on_progress=Gentle())
        except OSError as error:
            logger.warning("an image cannot be checked: %s", error)
        time.sleep(INTERVAL_SECONDS)


def observe_for_ever(config: Settings, xl: Xl, postman: Postman, doorbell: Doorbell) -> None:
    shelf = Shelf(config)
    threading.Thread(target=check_images, args=(config,), name="images", daemon=True).start()
    while True:
        try:
            postman.send(gather(config, xl, shelf), task=TASK_OBSERVATION)
        except PortalAway as error:
            logger.warning("observation not sent: %s", error)
        except Exception:  # a thread of the cellar: a bug must be seen, and not end what jobs depend on
            logger.exception("this host could not be looked at")
        doorbell.wait(INTERVAL_SECONDS)
