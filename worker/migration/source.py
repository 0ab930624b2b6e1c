"""MIGRATE: the source's side of a migration.

Checks before anything is sent, xl and the relay, and what this host alone may conclude. If GO has not passed,
the source resumes its guest. If GO has passed, nothing is destroyed or resumed here: `finalize` does that
after the portal has compared both hosts.
"""

import contextlib
import logging
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from worker import errors, failpoints, shell
from worker.contract import MigrateMachine, Order, Power
from worker.guest import leases, machine_files
from worker.ipc import local_socket, relay_client
from worker.job.context import JobContext
from worker.migration import cold, cold_stream, session, suspended
from worker.migration.facts import AWAY, Move, own, wait_for_xl
from worker.migration.session import LOOK_SECONDS, XL_SECONDS
from worker.relay import plug as relay_plug
from worker.relay.disk_stream import DiskStream
from worker.relay.gate import Relay, RelayPipes, TransferHooks
from worker.relay.stream_parser import IncrementalParser
from worker.xen import config, xl

logger = logging.getLogger(__name__)

#: time for a domain that xl is destroying to disappear
GONE_SECONDS = 15.0


def migrate(work: JobContext[MigrateMachine]) -> Power:
    """Send the machine to another host. Returns its power here afterwards. Raises WorkerError."""
    return session.carry_out(work, "SOURCE", begin=_begin, left=suspended.release, conclude=_conclude)


def _begin(move: Move[MigrateMachine]) -> str:
    order = move.work.order
    with move.work.step("CHECK"):
        domain = None if order.method == "COLD" else _check(move, order)
        if domain is None:
            cold.check_source(move, order)
    with move.work.step("CONNECT"):
        link = _connect(move, order)
    move.journal.begin()
    with contextlib.closing(link):
        # From here on the target may take the disks, with this order only.
        leases.offer(move.dom0, move.machine, fence=order.fence, heir=order.target)
        return _send(move, order, domain, link)


def _check(move: Move[Order], order: MigrateMachine) -> xl.Domain:
    domain = own(move.look(), move.machine)
    if domain is None or domain.power != "RUNNING":
        raise errors.MachineOff("NOT_RUNNING_TO_MOVE")
    if machine_files.seed_iso(move.dom0.settings, move.machine.id).exists():
        raise errors.MoveRefused("SEED_IS_LOCAL")
    if not leases.can_change_hands_running(move.dom0, move.machine):
        raise errors.MoveRefused("DISKS_ARE_CACHED")
    if order.method == "LIVE" and _is_pv(move, domain):
        raise errors.MoveRefused("PV_CANNOT_MOVE_LIVE")
    return domain


def _is_pv(move: Move[Order], domain: xl.Domain) -> bool:
    try:
        known = move.dom0.xl.configs().get(domain.domid)
    except xl.XlError as error:
        raise errors.XlUnreadable("XEN_NOT_RESPONDING") from error
    # `xl list -l` leaves out a domain without a stored configuration; machine.cfg is what it was made of
    if known is None:
        written = config.parse(machine_files.read_config(move.dom0.settings, move.machine.id))
        return config.facts_of(written).type == "PV"
    return str(known.get("c_info", {}).get("type", "")).lower() == "pv"


def _connect(move: Move[Order], order: MigrateMachine) -> socket.socket:
    try:
        link = relay_client.connect(
            move.dom0.settings.relay_socket,
            address=order.address,
            port=order.port,
            certificate=order.certificate,
        )
        session.await_peer(move, link)
    except relay_client.RelayAway as error:
        raise session.no_relay(error) from error
    return link


def _send_cold(move: Move[Order], order: MigrateMachine, link: socket.socket) -> str:
    """Send its disks, shut it down in between, then send what changed. Returns why it ended, or ""."""
    sender = cold_stream.Sender(move, order)
    relay = move.relay = _relay(move, order, RelayPipes(*sender.ways, link), DiskStream())
    sender.start()
    relay.start()
    if order.restarts and session.follow_until(move, lambda: sender.has_copied):
        try:
            cold.shut_down(move)
            sender.go_on()
        except errors.Cancelled:
            relay.stop("it was cancelled")
        except errors.WorkerError as error:
            move.failure = error
            relay.stop(str(error).rstrip("."))
    return session.follow(move, sender.wait)


def _send(move: Move[Order], order: MigrateMachine, domain: xl.Domain | None, link: socket.socket) -> str:
    """Make xl send through the relay. Returns why it ended, or ""."""
    if domain is None:
        return _send_cold(move, order, link)
    if order.method == "SUSPENDED":
        sender = suspended.Sender(move, domain)
        move.relay = _relay(move, order, RelayPipes(*sender.ways, link))
        sender.start()
        move.relay.start()
        return session.follow(move, sender.wait)
    with _plug_socket(move) as (listener, command):
        process = session.start_xl(move, move.dom0.xl.migrate(domain.domid, command))
        failpoints.reach("xl migrate has begun")
        pipes = _take_plug(move, listener, process)
        if pipes is None:
            session.close(move)
            return "xl did not begin"
        move.relay = _relay(move, order, RelayPipes(*pipes, link))
        move.relay.start()
        return session.follow(move, lambda seconds: shell.ended(process, timeout_seconds=seconds))


def _relay(
    move: Move[Order], order: MigrateMachine, ways: RelayPipes, stream: IncrementalParser | None = None
) -> Relay:
    """The relay of this side. Before the guest is resumed here, its disks are taken back from the target."""
    hands = TransferHooks(before_giving_back=lambda: leases.take(move.dom0, move.machine, fence=order.fence))
    return Relay(ways, move.journal, side="SOURCE", rate_mib_s=order.rate_mib_s, hands=hands, stream=stream)


@contextlib.contextmanager
def _plug_socket(move: Move[Order]) -> Iterator[tuple[socket.socket, str]]:
    """The socket at which xl's transport program passes its pipes, and the command that xl gives to a shell.

    The command holds no user input: an interpreter, a file of the worker's, and a path with the job's UUID.
    """
    path = move.path("plug")
    listener = local_socket.listen(path, group=None)
    try:
        yield listener, f"exec {sys.executable} -ISE {Path(relay_plug.__file__).resolve()} {path}"
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def _take_plug(move: Move[Order], listener: socket.socket, process: shell.Started) -> tuple[int, int] | None:
    """The pipes from and to xl, or None when xl ended before it started the transport."""
    listener.settimeout(LOOK_SECONDS)
    while shell.ended(process, timeout_seconds=0.0) is None:
        with contextlib.suppress(TimeoutError):
            plug, _ = listener.accept()
            _, pipes, _, _ = socket.recv_fds(plug, 1, 2)
            # its end is the end of the program; open until the relay has closed the pipes
            move.plug = plug
            return (pipes[0], pipes[1]) if len(pipes) == 2 else None
        if move.dom0.journal.is_cancel_asked(move.job_id):
            process.terminate()
    return None


def _conclude(move: Move[Order], why: str) -> Power:
    """Decide what follows on this host alone. Returns the power of the machine here. Raises WorkerError."""
    wait_for_xl(move, seconds=XL_SECONDS)
    failpoints.reach("the source concludes")
    domain = own(move.look(), move.machine)
    if move.journal.passed.go_passed:
        relay = move.relay
        if domain is not None and domain.is_dying:
            domain = _wait_gone(move, domain)
        if domain is None and move.journal.passed.phase == "REPORTED":
            machine_files.forget(move.dom0, move.machine.id)
            leases.let_go(move.dom0, move.machine)
            return "OFF"
        if domain is not None and relay is not None and relay.is_given_back and _is_home(domain):
            raise errors.MoveFailed("TARGET_COULD_NOT_START", details=session.last_words(move))
        raise errors.MoveUnknown("BROKE_OFF_AFTER_GO")
    set_source_right(move)
    if move.dom0.journal.is_cancel_asked(move.job_id):
        raise errors.Cancelled("MOVE_CANCELLED")
    if move.failure is not None:
        raise move.failure
    words = session.last_words(move)
    if own(move.look(), move.machine) is None:
        raise errors.MoveFailed("NOT_MOVED_IS_OFF", why=why, details=words)
    raise errors.MoveFailed("NOT_MOVED_RUNS_ON", why=why, details=words)


def _wait_gone(move: Move[Order], domain: xl.Domain) -> xl.Domain | None:
    """Wait until a domain that xl is destroying has gone."""
    until = time.monotonic() + GONE_SECONDS
    found: xl.Domain | None = domain
    while found is not None and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        found = own(move.look(), move.machine)
    return found


def set_source_right(move: Move[Order]) -> None:
    """Resume the machine under its own name. GO never left this host, so it runs nowhere else.

    Raises LeaseHeld when another host has its disks nevertheless; then it is not touched.
    """
    leases.withdraw(move.dom0, move.machine)
    cold.put_back(move)
    until = time.monotonic() + XL_SECONDS
    while True:
        domain = own(move.look(), move.machine)
        if domain is None or _is_home(domain):
            return  # it runs, or the guest has ended meanwhile
        if domain.power not in ("SUSPENDED", "PAUSED", "RUNNING"):
            raise errors.MoveUnknown("DOMAIN_STATE_UNCLEAR")
        bring_back(move, domain)
        if time.monotonic() > until:
            raise errors.MoveUnknown("COULD_NOT_RESUME")
        time.sleep(LOOK_SECONDS)


def bring_back(move: Move[Order], domain: xl.Domain) -> None:
    """Restore one domain's name, then resume it.

    An xl error is logged: xl may have done the same meanwhile.
    """
    name = domain.name.removesuffix(AWAY)
    try:
        if domain.name != name:
            move.dom0.xl.rename(domain.domid, name)
            failpoints.reach("a domain has its name back")
        if domain.power == "SUSPENDED":
            move.dom0.xl.resume(domain.domid)
        elif domain.power == "PAUSED":
            move.dom0.xl.unpause(domain.domid)
    except xl.XlError as error:
        logger.warning("bringing back machine %s: %s", move.machine.id, error)


def _is_home(domain: xl.Domain) -> bool:
    return domain.power == "RUNNING" and not domain.name.endswith(AWAY)
