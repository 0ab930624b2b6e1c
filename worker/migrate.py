"""MIGRATE and RECEIVE: the two sides of a move, each on its own host.

Lives here: what is checked before anything moves, xl and the relay at work, and what this host alone
may conclude at the end. Where GO has not passed, each side sets itself right; where it has, nothing is
destroyed or unpaused here: `settle` does that, when the portal has heard both hosts.
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from worker import domains, errors, hatch, machine_files, observe, points, relay_link, relay_plug, shell, xl
from worker.contract import MigrateMachine, Power, ReceiveMachine
from worker.dom0 import Work
from worker.move_facts import AWAY, Move, own, start_of, wait_for_process
from worker.relay import Relay, Ways
from worker.relay_suspended import Receiver, Sender, wide_pipe

logger = logging.getLogger(__name__)

#: how often a move says how far it is, and hears of a cancel
TICK_SECONDS = 0.5
#: xl resumes or destroys its guest after a move was broken off: hotplug scripts are slow
XL_SECONDS = 90.0
GONE_SECONDS = 15.0
#: Xen's own part of a domain, and page tables
OVERHEAD_MIB = 8


# --- the source --------------------------------------------------------------------------------


def migrate(work: Work) -> Power:
    """Send the machine away. Its disks stay where they are: the target sees them."""
    move = Move(work, job_id=work.order.job_id, side="SOURCE")
    if move.journal.is_begun or work.entry.attempts > 1:
        # The other side is no longer there, or will not be: what is left is only looked at.
        _close(move)
        return _conclude_source(move, "the worker of this host was stopped")
    order = cast("MigrateMachine", work.order)
    with work.step("CHECK", 2):
        domain = _check_source(move, order)
    with work.step("CONNECT", 5):
        link = _connect(move, order)
    move.journal.begin()
    with contextlib.closing(link):
        why = _send(move, order, domain, link)
    return _conclude_source(move, why)


def _check_source(move: Move, order: MigrateMachine) -> xl.Domain:
    domain = own(move.look(), move.machine)
    if domain is None or domain.power != "RUNNING":
        raise errors.MachineOff("The machine does not run, so it cannot be moved running. Start it.")
    if machine_files.seed_iso(move.dom0.settings, move.machine.id).exists():
        raise errors.MoveRefused(
            "The machine was made with a seed image that lies on this host's own disk. Move it switched off."
        )
    if order.method == "LIVE" and _is_pv(move, domain):
        raise errors.MoveRefused(
            "This machine is of type PV, and this host's Xen cannot follow its memory while it runs"
            " (no log-dirty mode). Move it suspended."
        )
    return domain


def _is_pv(move: Move, domain: xl.Domain) -> bool:
    try:
        config = move.dom0.xl.configs().get(domain.domid, {})
    except xl.XlError as error:
        raise errors.XlUnreadable("The host's Xen does not answer. Try again.") from error
    return str(config.get("c_info", {}).get("type", "")).lower() == "pv"


def _connect(move: Move, order: MigrateMachine) -> socket.socket:
    try:
        link = relay_link.connect(
            move.dom0.settings.relay_socket,
            address=order.address,
            port=order.port,
            certificate=order.certificate,
        )
        _await_peer(move, link)
    except relay_link.RelayAway as error:
        raise _no_relay(error) from error
    return link


def _await_peer(move: Move, link: socket.socket) -> None:
    """Wait for the other host, and hear of a cancel meanwhile."""
    try:
        while not relay_link.is_connected(link, wait_seconds=TICK_SECONDS):
            move.work.remaining("CONNECT")
            move.work.check_cancelled()
    except BaseException:
        link.close()
        raise


def _no_relay(error: Exception) -> errors.RelayAway:
    return errors.RelayAway(f"The other host was not reached, so nothing was moved: {error}. Try again.")


def _send(move: Move, order: MigrateMachine, domain: xl.Domain, link: socket.socket) -> str:
    """Let xl send, through the relay; why it ended."""
    if order.method == "SUSPENDED":
        sender = Sender(move, domain)
        move.relay = Relay(Ways(*sender.ways, link), move.journal, side="SOURCE", rate_mib_s=order.rate_mib_s)
        sender.start()
        move.relay.start()
        return _follow(move, sender.wait)
    with _plug_socket(move) as (listener, command):
        process = shell.start(move.dom0.xl.migrate(domain.domid, command), log_path=move.path("log"))
        move.work.mark(xl_pid=str(process.pid), xl_start=start_of(process.pid))
        points.reach("xl migrate has begun")
        pipes = _take_plug(move, listener, process)
        if pipes is None:
            _close(move)
            return "xl did not begin"
        move.relay = Relay(Ways(*pipes, link), move.journal, side="SOURCE", rate_mib_s=order.rate_mib_s)
        move.relay.start()
        return _follow(move, lambda seconds: shell.ended(process, timeout_seconds=seconds))


@contextlib.contextmanager
def _plug_socket(move: Move) -> Iterator[tuple[socket.socket, str]]:
    """Where xl's transport hands over its pipes, and the command that xl runs through a shell.

    Nothing of it was written by anybody: an interpreter, a file of ours, a path with the job's UUID.
    """
    path = move.path("plug")
    listener = hatch.listen(path, group=None)
    try:
        yield listener, f"exec {sys.executable} -ISE {Path(relay_plug.__file__).resolve()} {path}"
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def _take_plug(
    move: Move, listener: socket.socket, process: "subprocess.Popen[bytes]"
) -> tuple[int, int] | None:
    """The pipes from and to xl; None when xl ended before it had a transport."""
    listener.settimeout(TICK_SECONDS)
    while shell.ended(process, timeout_seconds=0.0) is None:
        with contextlib.suppress(TimeoutError):
            plug, _ = listener.accept()
            _, pipes, _, _ = socket.recv_fds(plug, 1, 2)
            # its end is the plug's end: kept open until the relay has closed the pipes
            move.plug = plug
            return (pipes[0], pipes[1]) if len(pipes) == 2 else None
        if move.dom0.journal.is_cancel_asked(move.job_id):
            process.terminate()
    return None


def _follow(move: Move, ended: Callable[[float], int | None]) -> str:
    """Tell how far it is until it is over, and hear of a cancel. Why it ended, where it did not go well."""
    relay = cast("Relay", move.relay)
    while not relay.wait(TICK_SECONDS):
        move.tell(_step_of(relay.phase), move.percent)
        if not move.journal.passed.go_passed and move.dom0.journal.is_cancel_asked(move.job_id):
            relay.stop("it was cancelled")
        if time.monotonic() > move.work.deadline and not relay.stop("its time was up"):
            relay.abandon("the other side said nothing more in time")
    _close(move)
    if move.plug is not None:
        move.plug.close()
    if ended(XL_SECONDS) is None:
        logger.error("xl of move %s has not ended", move.job_id)
    return relay.why


def _step_of(phase: str) -> str:
    return {"NONE": "CONNECT", "CONNECTED": "STREAM", "STREAM": "STREAM"}.get(phase, phase)


def _close(move: Move) -> None:
    try:
        move.journal.close()
    except OSError as error:
        raise errors.MoveUnknown(
            "The host cannot write down that the move is over, so it concludes nothing. Make room on its"
            " disk."
        ) from error


def _conclude_source(move: Move, why: str) -> Power:
    """What this host alone may say and do."""
    wait_for_process(move.work.entry.marks, "xl", seconds=XL_SECONDS)
    points.reach("the source concludes")
    domain = own(move.look(), move.machine)
    if move.journal.passed.go_passed:
        relay = move.relay
        if domain is not None and move.journal.passed.phase == "REPORTED":
            domain = _wait_gone(move, domain)
        if domain is None:
            machine_files.forget(move.dom0, move.machine.id)
            return "OFF"
        if relay is not None and relay.is_given_back and _is_home(domain):
            raise errors.MoveFailed(
                f"The other host could not start the machine, and it runs on here.{_last_words(move)}"
            )
        raise errors.MoveUnknown(
            "The move broke off after the other host was told to run the machine. Nothing is touched until"
            " both hosts have been heard."
        )
    set_source_right(move)
    if move.dom0.journal.is_cancel_asked(move.job_id):
        raise errors.Cancelled("The move was cancelled; the machine runs on where it was.")
    raise errors.MoveFailed(f"The machine was not moved and runs on here: {why}.{_last_words(move)}")


def _wait_gone(move: Move, domain: xl.Domain) -> xl.Domain | None:
    """The other host has said that the machine runs there: xl removes the domain here."""
    until = time.monotonic() + GONE_SECONDS
    found: xl.Domain | None = domain
    while found is not None and time.monotonic() < until:
        time.sleep(TICK_SECONDS)
        found = own(move.look(), move.machine)
    return found


def set_source_right(move: Move) -> None:
    """GO never left this host, so the machine runs nowhere else: let it go on, under its own name."""
    until = time.monotonic() + XL_SECONDS
    while True:
        domain = own(move.look(), move.machine)
        if domain is not None and _is_home(domain):
            return
        if domain is None or domain.power not in ("SUSPENDED", "PAUSED", "RUNNING"):
            raise errors.MoveUnknown(
                "The machine's domain is not in a state that is understood. Look at the host."
            )
        bring_back(move, domain)
        if time.monotonic() > until:
            raise errors.MoveUnknown("The machine could not be made to go on. Look at the host.")
        time.sleep(TICK_SECONDS)


def bring_back(move: Move, domain: xl.Domain) -> None:
    """One domain: its name, then its life. What xl has done meanwhile is no error."""
    name = domain.name.removesuffix(AWAY)
    try:
        if domain.name != name:
            move.dom0.xl.rename(domain.domid, name)
            points.reach("a domain has its name back")
        if domain.power == "SUSPENDED":
            move.dom0.xl.resume(domain.domid)
        elif domain.power == "PAUSED":
            move.dom0.xl.unpause(domain.domid)
    except xl.XlError as error:
        logger.warning("bringing back machine %s: %s", move.machine.id, error)


def _is_home(domain: xl.Domain) -> bool:
    return domain.power == "RUNNING" and not domain.name.endswith(AWAY)


def _last_words(move: Move) -> str:
    try:
        lines = xl.last_words(move.path("log").read_text(errors="replace"), lines=2)
    except FileNotFoundError:
        return ""
    return f" xl said: {'; '.join(lines)}" if lines else ""


# --- the target --------------------------------------------------------------------------------


def receive(work: Work) -> Power:
    """Wait for one machine from one host, and let it run when it is all here."""
    move = Move(work, job_id=work.order.job_id, side="TARGET")
    if move.journal.is_begun or work.entry.attempts > 1:
        # The other side is no longer there, or will not be: what is left is only looked at.
        _close(move)
        return _conclude_target(move, "the worker of this host was stopped")
    order = cast("ReceiveMachine", work.order)
    with work.step("CHECK", 2):
        _check_target(move)
    move.journal.begin()
    with work.step("LISTEN", 4):
        link = _await_source(move, order)
    with contextlib.closing(link):
        why = _take_in(move, order, link)
    return _conclude_target(move, why)


def _check_target(move: Move) -> None:
    settings, machine = move.dom0.settings, move.machine
    if found := move.look():
        raise errors.NameTaken(
            f"This host already has a domain of this machine or of its name ({found[0].name}). Ask an"
            " administrator to look at it."
        )
    facts = move.work.news.move
    if facts is not None and not facts.disks_visible:
        raise errors.MachineMissing("Not all disks of the machine can be seen from this host.")
    missing = {nic.bridge for nic in machine.nics} - set(observe.read_bridges(settings.network_dir))
    if missing and settings.network_dir.exists():
        raise errors.MoveRefused(f"This host has no bridge named {min(missing)}.")
    for name in filter(None, (machine.image.kernel, machine.image.ramdisk)):
        if not (settings.kernels_dir / name).is_file():
            raise errors.KernelMissing(
                f"The kernel {name} is not on this host, so the machine could not be started here later."
            )
    _check_memory(move)


def _check_memory(move: Move) -> None:
    try:
        free = int(move.dom0.xl.info()["free_memory"])
    except xl.XlError as error:
        raise errors.XlUnreadable("The host's Xen does not answer. Try again.") from error
    if free < move.machine.memory_mib + OVERHEAD_MIB:
        raise errors.NoMemory(
            f"The host has {free} MiB of free memory and the machine needs"
            f" {move.machine.memory_mib + OVERHEAD_MIB}. Choose another host."
        )


def _await_source(move: Move, order: ReceiveMachine) -> socket.socket:
    try:
        link, move.port = relay_link.listen(move.dom0.settings.relay_socket, certificate=order.certificate)
        move.tell("LISTENING", 5)
        _await_peer(move, link)
    except relay_link.RelayAway as error:
        _close(move)
        raise _no_relay(error) from error
    except errors.WorkerError:
        _close(move)
        raise
    # consoled takes a domain for ours when there is a machine.json of its uuid
    machine_files.write_facts(move.dom0.settings, move.machine, job_id=move.job_id)
    return link


def _take_in(move: Move, order: ReceiveMachine, link: socket.socket) -> str:
    if order.method == "SUSPENDED":
        receiver = Receiver(move)
        move.relay = Relay(Ways(*receiver.ways, link), move.journal, side="TARGET")
        receiver.start()
        move.relay.start()
        return _follow(move, receiver.wait)
    to_xl, from_xl = wide_pipe(), wide_pipe()
    process = shell.start(
        move.dom0.xl.migrate_receive(), log_path=move.path("log"), stdin=to_xl[0], stdout=from_xl[1]
    )
    move.work.mark(xl_pid=str(process.pid), xl_start=start_of(process.pid))
    for fd in (to_xl[0], from_xl[1]):
        os.close(fd)
    points.reach("xl migrate-receive has begun")
    move.relay = Relay(Ways(from_xl[0], to_xl[1], link), move.journal, side="TARGET")
    move.relay.start()
    return _follow(move, lambda seconds: shell.ended(process, timeout_seconds=seconds))


def _conclude_target(move: Move, why: str) -> Power:
    wait_for_process(move.work.entry.marks, "xl", seconds=XL_SECONDS)
    points.reach("the target concludes")
    domain = own(move.look(), move.machine)
    if move.journal.passed.go_passed:
        if domain is not None and domain.power == "RUNNING":
            return "RUNNING"
        if domain is None and move.relay is not None and move.relay.is_good is False:
            raise errors.MoveFailed(
                "This host could not start the machine; the one it came from takes it back."
                f"{_last_words(move)}"
            )
        raise errors.MoveUnknown(
            "The move broke off after this host was told to run the machine. Nothing is touched until both"
            " hosts have been heard."
        )
    set_target_right(move)
    if move.dom0.journal.is_cancel_asked(move.job_id):
        raise errors.Cancelled("The move was cancelled; the machine runs on where it was.")
    raise errors.MoveFailed(f"The machine was not taken in: {why}.{_last_words(move)}")


def set_target_right(move: Move) -> None:
    """No GO was handed over here and none will be, so what came in never ran: it is removed."""
    domain = own(move.look(), move.machine)
    if domain is None:
        return
    if domain.power not in ("PAUSED", "SUSPENDED", "UNKNOWN"):
        raise errors.MoveUnknown(
            "A domain of this machine runs here although no word was given for it. Nothing is touched."
        )
    domains.destroy(move.dom0, move.machine.id)
    points.reach("what came in is gone")
    move.look()


def undo_receive(work: Work) -> None:
    """The machine did not come: what this host had written down of it goes. Disks are not touched."""
    move = Move(work, job_id=work.order.job_id, side="TARGET")
    if not move.journal.passed.go_passed and domains.find(work.dom0, work.machine.id) is None:
        facts = machine_files.read_facts(work.dom0.settings, work.machine.id)
        if facts is not None and facts.job_id == work.order.job_id:
            machine_files.forget(work.dom0, work.machine.id)
