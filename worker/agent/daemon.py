"""`python -m worker.agent.daemon`: the root process that changes things on a dom0.

It accepts connections on a Unix socket, limits how many orders are in progress, and starts the reconciler and
the observer. It has no network, no Celery and no Redis: it reads one envelope at a time from the socket and
trusts only the portal's signature. Orders are executed by `worker.agent.executor`.
"""

import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from worker import contract, core_dumps, failpoints, settings, shell, workspaces
from worker.agent import cancel, envelopes, executor
from worker.agent.envelopes import Verified
from worker.agent.recovery import Reconciler
from worker.contract import CancelJob, Order
from worker.errors import OrderRefused, XlUnreadable
from worker.files import LockHeld, locked
from worker.identity import keys
from worker.images import seed_files
from worker.ipc import local_socket
from worker.ipc.local_socket import BadFrame, Word
from worker.ipc.outbox import Outbox
from worker.ipc.sender import MessageSender
from worker.job.context import HostContext
from worker.job.journal import Journal
from worker.job.order_checks import check_order
from worker.job.reporting import Reporter
from worker.job.reserve import Reserve
from worker.observe import observer
from worker.settings import Settings
from worker.watchdog import Watchdog
from worker.xen.xl import Xl

logger = logging.getLogger(__name__)

#: jobs executed at the same time, and accepted orders, including those that wait for a free thread
WORKERS = 2
MOST_UNDERWAY = 32
#: migrations have threads of their own: they take long, mostly wait, and must not delay other jobs
MOVERS = 4
MOVES = frozenset(verb.kind for verb in contract.VERBS.values() if verb.has_two_hosts)
#: cancels and other messages that are not jobs do not queue behind jobs
SHORT_WORKERS = 2
#: simultaneous connections; one listener needs one for reports and one per order
MOST_CONNECTIONS = 16
#: how often the loop that accepts connections reports that it works, and when it counts as hung
LOOK_SECONDS = 5.0
ACCEPT_SECONDS = 30.0
#: an observation waits for no pool, and for xl within its time limits; after this it counts as hung
OBSERVE_SECONDS = 300.0
#: how long a running job may take to finish at shutdown; the next process continues the rest from the journal
GRACE_SECONDS = 5.0


class OrderQueue:
    """Accepts envelopes: checks them, ignores duplicates and limits how many are in progress."""

    def __init__(self, dom0: HostContext) -> None:
        self._dom0 = dom0
        self._jobs = ThreadPoolExecutor(WORKERS, thread_name_prefix="job")
        self._moves = ThreadPoolExecutor(MOVERS, thread_name_prefix="move")
        self._short = ThreadPoolExecutor(SHORT_WORKERS, thread_name_prefix="short")
        self._lock = threading.Lock()
        #: (kind, job id) of each message that is waiting or executing; True for a job, False for a short
        #: message
        self._underway: dict[tuple[str, str], bool] = {}
        #: number of messages that are being executed
        self._begun = 0
        self._is_closed = False

    def take(self, untrusted_envelope: str, *, now: int) -> Word:
        """Accept an envelope. Returns TAKEN, BUSY (the portal has to send it again) or DROPPED.

        `now` is in seconds since the epoch and is compared with the envelope's expiry.
        """
        # Verified once, before it waits: unsigned messages must not fill the queue.
        verified = envelopes.verify(self._dom0, untrusted_envelope, now=now)
        if verified is None:
            return Word.DROPPED
        message = verified.message
        ticket = (message.kind, getattr(message, "job_id", verified.nonce))
        is_long = isinstance(message, Order) and not isinstance(message, CancelJob)
        with self._lock:
            if ticket in self._underway:
                return Word.TAKEN
            if self._is_closed or self._count(is_long=is_long) >= MOST_UNDERWAY:
                logger.warning("%s %.40r must come again: %d are under way", *ticket, MOST_UNDERWAY)
                return Word.BUSY
            if isinstance(message, CancelJob) and not self._note_cancel(message):
                return Word.BUSY
            self._underway[ticket] = is_long
            lane = self._moves if message.kind in MOVES else self._jobs if is_long else self._short
            lane.submit(self._carry_out, ticket, verified)
        return Word.TAKEN

    def _note_cancel(self, order: CancelJob) -> bool:
        """Record a cancel for orders accepted after it. Returns False when it could not be written."""
        try:
            check_order(order)
            cancel.note(self._dom0, order)
        except OrderRefused:
            return True  # `executor.perform` refuses it and reports the reason
        except OSError as error:
            logger.error("the cancel of job %s must come again: %s", order.job_id, error)
            return False
        return True

    def _count(self, *, is_long: bool) -> int:
        """Number of messages in progress of one class.

        Cancels are counted apart, so that waiting jobs do not block them.
        """
        return sum(other == is_long for other in self._underway.values())

    def close(self, *, timeout_seconds: float) -> bool:
        """Start no more jobs and wait for the running ones. Returns whether all of them have ended."""
        with self._lock:
            self._is_closed = True
        for lane in (self._jobs, self._moves, self._short):
            lane.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + timeout_seconds
        while self._begun and time.monotonic() < until:
            time.sleep(0.05)
        return not self._begun

    def _carry_out(self, ticket: tuple[str, str], verified: Verified) -> None:
        with self._lock:
            self._begun += 1
        try:
            executor.perform(self._dom0, verified)
        except Exception:  # the top of the thread: a bug is logged and must not end the other jobs
            logger.exception("%s %.40r could not be carried out", *ticket)
        finally:
            with self._lock:
                self._begun -= 1
                self._underway.pop(ticket, None)


class SocketServer:
    """Serves the agent's socket, one thread per connection. Refuses other users and malformed frames."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        uids: set[int],
        admit: Callable[[str], Word],
        outbox: Outbox,
        watchdog: Watchdog,
    ) -> None:
        self._listener = listener
        self._watchdog = watchdog
        self._uids = uids
        self._admit = admit
        self._outbox = outbox
        self._seats = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def receive_for_ever(self) -> None:
        """Accept connections until the socket is closed."""
        self._listener.settimeout(LOOK_SECONDS)
        while True:
            self._watchdog.seen("the socket for orders", longest_seconds=ACCEPT_SECONDS)
            failpoints.reach("the agent listens")
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.EBADF):
                    return  # the socket was closed
                logger.error("nobody can be let in: %s", error)
                time.sleep(1.0)
                continue
            uid = local_socket.uid_of_peer(connection)
            if uid not in self._uids:
                logger.warning("refused a connection of user %d", uid)
                connection.close()
            elif not self._seats.acquire(blocking=False):
                logger.warning("refused a connection: there are %d already", MOST_CONNECTIONS)
                connection.close()
            else:
                threading.Thread(target=self._attend, args=(connection,), name="hall", daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(local_socket.FRAME_SECONDS)
                self._answer(connection)
        except BadFrame as error:
            logger.warning("dropped a connection: %s", error)
        except OSError as error:
            logger.warning("a connection broke off: %s", error)
        finally:
            self._seats.release()

    def _answer(self, connection: socket.socket) -> None:
        while frame := local_socket.receive(connection):
            if frame.word is Word.OBEY:
                local_socket.send(connection, self._admit(frame.envelope))
            elif frame.word is Word.NEXT:
                self._outbox.serve(connection)
                return
            else:
                raise BadFrame(f"{frame.word.name} where OBEY or NEXT was due")


class Agent:
    """Everything that runs in the agent's process."""

    def __init__(self, config: Settings, watchdog: Watchdog) -> None:
        config.make_directories()
        self.watchdog = watchdog
        self.outbox = Outbox(on_listener=self._look)
        self.sender = MessageSender(
            host=config.host, sign=keys.read_signer(config.host_key_file), carry=self.outbox.carry
        )
        journal = Journal(config.journal_dir, reserve=Reserve(config.journal_dir))
        self.dom0 = HostContext(
            settings=config,
            xl=Xl(str(config.xl)),
            journal=journal,
            reporter=Reporter(self.sender.send, on_end_told=journal.mark_told),
            verify=keys.read_verifier(config.portal_key_file),
        )
        self.reconciler = Reconciler(self.dom0)
        self.watcher = observer.XenstoreWatcher(config, quiet=self.dom0.quiet)
        self.admission = OrderQueue(self.dom0)
        self.listener = _open_socket(config)

    def start(self) -> None:
        """Start the threads of the agent."""
        config = self.dom0.settings
        hall = SocketServer(
            self.listener, uids=_uids(config), admit=self._admit, outbox=self.outbox, watchdog=self.watchdog
        )
        self.reconciler.start()
        for name, work in (
            ("facts", self._read_facts),
            ("observe", self._observe),
            ("local_socket", hall.receive_for_ever),
        ):
            threading.Thread(target=work, name=name, daemon=True).start()
        logger.info("the agent of %s is open at %s", config.host, config.agent_socket)

    def stop(self) -> None:
        """Stop accepting orders.

        A job that is still running is continued from the journal by the next process.
        """
        self.listener.shutdown(socket.SHUT_RDWR)
        self.reconciler.stop()
        is_idle = self.admission.close(timeout_seconds=GRACE_SECONDS)
        is_told = self.dom0.reporter.flush(timeout_seconds=1.0)
        logger.info("the agent is closed%s", "" if is_idle and is_told else "; the next one goes on")

    def _admit(self, untrusted_envelope: str) -> Word:
        return self.admission.take(untrusted_envelope, now=int(time.time()))

    def _look(self) -> None:
        """Called when a listener connects: send what could not be sent without one."""
        self.reconciler.ring()
        self.watcher.ring()

    def _observe(self) -> None:
        observer.observe_for_ever(
            self.dom0,
            self.sender,
            self.watcher,
            on_round=lambda: self.watchdog.seen("observation", longest_seconds=OBSERVE_SECONDS),
        )

    def _read_facts(self) -> None:
        """Read `xl info` in advance, so that the first order does not wait for it."""
        try:
            logger.info("new machines are %s here", self.dom0.best_type)
        except XlUnreadable as error:
            logger.warning("%s", error)


def _open_socket(config: Settings) -> socket.socket:
    listener = local_socket.account(config.listener_user) if os.geteuid() == 0 else None
    return local_socket.listen(config.agent_socket, group=listener[1] if listener else None)


def _uids(config: Settings) -> set[int]:
    """User ids allowed to connect: root, the listener's account and, for development, the agent's own."""
    listener = local_socket.account(config.listener_user)
    return {0, os.geteuid(), *([listener[0]] if listener else [])}


def main() -> None:
    """Run the agent until SIGTERM or SIGINT. Raises SystemExit if another agent uses the state directory."""
    core_dumps.forbid()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config = settings.read(os.environ, needs_broker=False)
    config.make_directories()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        # Two agents would take the socket from each other.
        with locked(config.state_dir / "agent.lock", wait_seconds=10.0):
            workspaces.remove_left(seed_files.WORKSPACE)
            watchdog = Watchdog(os.environ)
            agent = Agent(config, watchdog)
            agent.start()
            watchdog.say_ready()
            while not stopping.wait(watchdog.interval_seconds):
                watchdog.say_alive()
            watchdog.say_stopping()
            agent.stop()
            shell.end_listeners()
            logging.shutdown()
            # A normal exit would wait for threads that run a job; the journal records their state.
            os._exit(0)
    except LockHeld:
        raise SystemExit("another agent has this state directory") from None


if __name__ == "__main__":
    main()
