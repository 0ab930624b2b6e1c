"""What both sides of a migration have in common: its course, its xl, following the relay,
and cancellation.
"""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from worker import errors, shell
from worker.contract import MoveSide, Order, Power
from worker.files import open_plain
from worker.ipc import relay_client
from worker.job.context import JobContext
from worker.migration.facts import Move, start_of
from worker.relay.gate import Relay
from worker.xen import restart_watcher, xl

logger = logging.getLogger(__name__)
OrderT = TypeVar("OrderT", bound=Order)

#: how often a cancel and the relay's end are checked
LOOK_SECONDS = 0.5
#: time between reports of the progress, beside those of a new phase
TELL_SECONDS = 2.0
#: the same while the guest is paused, when it needs both hosts' processors
QUIET_SECONDS = 15.0
#: time for xl to resume or destroy its guest after a migration was stopped; hotplug scripts are slow
XL_SECONDS = 90.0
#: bytes read from the end of xl's log
MOST_LOG_BYTES = 64 << 10


def carry_out(
    work: JobContext[OrderT],
    side: MoveSide,
    *,
    begin: Callable[[Move[OrderT]], str],
    left: Callable[[Move[OrderT]], None],
    conclude: Callable[[Move[OrderT], str], Power],
) -> Power:
    """Run one side of a migration. Returns the power of the machine here afterwards. Raises WorkerError.

    `begin` runs the migration and returns why it ended; `conclude` decides what follows on this host. `left`
    is called instead of `begin` when an earlier worker was killed during it, and ends what still waits for
    that worker.
    """
    move = Move(work, job_id=work.order.job_id, side=side)
    with _concluding(move):
        if move.journal.is_begun or work.entry.attempts > 1:
            # The other side has given up or will do so: only the outcome is determined.
            close(move)
            left(move)
            why = "the worker of this host was stopped"
        else:
            why = begin(move)
        return conclude(move, why)


def start_xl(
    move: Move[Order], argv: list[str], *, stdin: int = shell.NOTHING, stdout: int = shell.NOTHING
) -> shell.Started:
    """Start the xl of this migration and mark its pid in the journal."""
    config = move.dom0.settings.machine_config(move.machine.id)
    process = shell.start(
        argv, log_path=move.path("log"), stdin=stdin, stdout=stdout, marks=restart_watcher.mark(config)
    )
    move.work.mark(xl_pid=str(process.pid), xl_start=start_of(process.pid))
    return process


def await_peer(move: Move[Order], link: socket.socket) -> None:
    """Wait until the other host is connected. Raises RelayAway, DeadlinePassed and Cancelled."""
    try:
        while not relay_client.is_connected(link, wait_seconds=LOOK_SECONDS):
            move.work.remaining("CONNECT")
            move.work.check_cancelled()
    except BaseException:
        link.close()
        raise


def no_relay(error: Exception) -> errors.RelayAway:
    """The error for a relay that cannot be reached."""
    return errors.RelayAway("OTHER_HOST_NOT_REACHED", error=error)


@contextlib.contextmanager
def _concluding(move: Move[Order]) -> Iterator[None]:
    """Close the journal and look once more if the migration ends with an error, so that the end reports fresh
    facts.
    """
    is_concluded = False
    try:
        yield
        is_concluded = True
    finally:
        if not is_concluded:
            close(move)
            with contextlib.suppress(errors.XlUnreadable):
                move.look()


def follow(move: Move[Order], ended: Callable[[float], int | None]) -> str:
    """Report progress and check for a cancel until the relay and xl have ended. Returns why, or ""."""
    relay = cast("Relay", move.relay)
    with move.dom0.quiet.hold():
        _follow(move, relay, until=lambda: False)
    close(move)
    if move.plug is not None:
        move.plug.close()
    ended(XL_SECONDS)
    return relay.why


def follow_until(move: Move[Order], is_there: Callable[[], bool]) -> bool:
    """The same until `is_there`. Returns whether that was reached.

    Not a quiet period: a cold migration may take hours.
    """
    _follow(move, cast("Relay", move.relay), until=is_there)
    return is_there()


def _follow(move: Move[Order], relay: Relay, *, until: Callable[[], bool]) -> None:
    told, told_at = "", 0.0
    while not relay.wait(LOOK_SECONDS) and not until():
        # Each report costs a signature and a pass through the listener, while the guest is paused at the end.
        is_news = relay.phase != told and relay.phase not in ("READY", "GO")
        rest = QUIET_SECONDS if relay.is_all_there else TELL_SECONDS
        if is_news or time.monotonic() - told_at > rest:
            told, told_at = relay.phase, time.monotonic()
            move.tell(_step_of(told), move.percent)
        if not move.journal.passed.go_passed and move.dom0.journal.is_cancel_asked(move.job_id):
            relay.stop("it was cancelled")
        if time.monotonic() > move.work.deadline and not relay.stop("its time was up"):
            relay.abandon("the other side said nothing more in time")


def _step_of(phase: str) -> str:
    return {"NONE": "CONNECT", "CONNECTED": "STREAM", "STREAM": "STREAM"}.get(phase, phase)


def close(move: Move[Order]) -> None:
    """Let no GO pass from now on. Raises MoveUnknown if that cannot be written."""
    try:
        move.journal.close()
    except OSError as error:
        raise errors.MoveUnknown("MOVE_END_UNWRITABLE") from error


def last_words(move: Move[Order]) -> str:
    """The last lines of xl's log as a sentence, or ""."""
    try:
        with open_plain(move.path("log")) as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - MOST_LOG_BYTES))
            lines = xl.last_words(log.read(MOST_LOG_BYTES).decode(errors="replace"), lines=2)
    except (OSError, ValueError):
        return ""
    return f"xl: {'; '.join(lines)}" if lines else ""
