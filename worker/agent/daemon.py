"""`python -m worker.agent.daemon`: the process that may do things on a dom0, and talks to the listener alone.

Lives here: who may knock, how much is under way at once, and starting what works beside it (reconciler,
observer). It runs as root and has no network, no Celery and no Redis: it reads one envelope at a time
from a Unix socket and believes only the portal's signature. What an order does is `orders`.
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

from worker import contract, core_dumps, settings, shell, workspaces
from worker.agent import cancel, executor
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
from worker.xen.xl import Xl

logger = logging.getLogger(__name__)

#: jobs carried out at the same time, and orders taken that still wait for their turn
WORKERS = 2
MOST_UNDERWAY = 32
#: moves take long and mostly wait: they hold up nothing else
MOVERS = 4
MOVES = frozenset(verb.kind for verb in contract.VERBS.values() if verb.has_two_hosts)
#: cancels and other words that are no jobs pass the jobs that wait
SHORT_WORKERS = 2
#: connections at the same time: one listener needs one for reports and one an order
MOST_CONNECTIONS = 16
#: at the end a job may come to its own end for this long; the journal is there for the rest
GRACE_SECONDS = 5.0


class OrderQueue:
    """Takes envelopes in: the good ones, each once, and no more than can be kept."""

    def __init__(self, dom0: HostContext) -> None:
        self._dom0 = dom0
        self._jobs = ThreadPoolExecutor(WORKERS, thread_name_prefix="job")
        self._moves = ThreadPoolExecutor(MOVERS, thread_name_prefix="move")
        self._short = ThreadPoolExecutor(SHORT_WORKERS, thread_name_prefix="short")
        self._lock = threading.Lock()
        #: (kind, job) of what is waiting or being carried out, and whether it is long
        self._underway: dict[tuple[str, str], bool] = {}
        #: how many of these are being carried out
        self._begun = 0
        self._is_closed = False

    def take(self, untrusted_envelope: str, *, now: int) -> Word:
        """TAKEN: it is in hand. BUSY: it is forgotten here, and the portal sends it again."""
        # `orders.obey` opens it again before it acts; here nothing unsigned may fill the waiting room.
        try:
            opened = contract.open_envelope(
                untrusted_envelope, host=self._dom0.settings.host, verify=self._dom0.verify, now=now
            )
        except contract.UnreadableMessage as error:
            executor.say_too_old(self._dom0, error)
            return Word.DROPPED
        except contract.BadEnvelope as error:
            logger.warning("dropped an order: %s", error)
            return Word.DROPPED
        message = opened.message
        ticket = (message.kind, getattr(message, "job_id", opened.nonce))
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
            # It came in time: the moment it was taken counts, not the moment its turn comes.
            lane.submit(self._carry_out, ticket, untrusted_envelope, now)
        return Word.TAKEN

    def _note_cancel(self, order: CancelJob) -> bool:
        """Make every order that is taken in after this cancel find it."""
        try:
            check_order(order)
            cancel.note(self._dom0, order)
        except OrderRefused:
            return True  # `orders.obey` refuses it with its reason
        except OSError as error:
            logger.error("the cancel of job %s must come again: %s", order.job_id, error)
            return False
        return True

    def _count(self, *, is_long: bool) -> int:
        """A cancel finds room however many jobs wait."""
        return sum(other == is_long for other in self._underway.values())

    def close(self, *, timeout_seconds: float) -> bool:
        """Start nothing more; give what has begun some time. Did it come to its end?"""
        with self._lock:
            self._is_closed = True
        for lane in (self._jobs, self._moves, self._short):
            lane.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + timeout_seconds
        while self._begun and time.monotonic() < until:
            time.sleep(0.05)
        return not self._begun

    def _carry_out(self, ticket: tuple[str, str], envelope: str, now: int) -> None:
        with self._lock:
            self._begun += 1
        try:
            executor.obey(self._dom0, envelope, now=now)
        except Exception:  # the thread has nobody above it: a bug must be seen, and not end the others
            logger.exception("%s %.40r could not be carried out", *ticket)
        finally:
            with self._lock:
                self._begun -= 1
                self._underway.pop(ticket, None)


class SocketServer:
    """Answers at the agent's socket: one thread a connection, strangers and nonsense are shown out."""

    def __init__(
        self, listener: socket.socket, *, uids: set[int], admit: Callable[[str], Word], outbox: Outbox
    ) -> None:
        self._listener = listener
        self._uids = uids
        self._admit = admit
        self._outbox = outbox
        self._seats = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def receive_for_ever(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
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
    """All that runs in this process."""

    def __init__(self, config: Settings) -> None:
        config.make_directories()
        self.outbox = Outbox(on_listener=self._look)
        self.sender = MessageSender(
            host=config.host, sign=keys.read_signer(config.host_key_file), carry=self.outbox.carry
        )
        journal = Journal(config.journal_dir, reserve=Reserve(config.journal_dir))
        self.dom0 = HostContext(
            settings=config,
            xl=Xl(str(config.xl), str(config.xenstore_dir)),
            journal=journal,
            reporter=Reporter(self.sender.send, on_end_told=journal.mark_told),
            verify=keys.read_verifier(config.portal_key_file),
        )
        self.reconciler = Reconciler(self.dom0)
        self.watcher = observer.XenstoreWatcher(config, quiet=self.dom0.quiet)
        self.admission = OrderQueue(self.dom0)
        self.listener = _open_socket(config)

    def start(self) -> None:
        config = self.dom0.settings
        hall = SocketServer(self.listener, uids=_uids(config), admit=self._admit, outbox=self.outbox)
        self.reconciler.start()
        for name, work in (
            ("facts", self._read_facts),
            ("observe", self._observe),
            ("local_socket", hall.receive_for_ever),
        ):
            threading.Thread(target=work, name=name, daemon=True).start()
        logger.info("the agent of %s is open at %s", config.host, config.agent_socket)

    def stop(self) -> None:
        """Take nothing more in, and end. Whatever is still under way is continued from the journal."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.reconciler.stop()
        is_idle = self.admission.close(timeout_seconds=GRACE_SECONDS)
        is_told = self.dom0.reporter.flush(timeout_seconds=1.0)
        logger.info("the agent is closed%s", "" if is_idle and is_told else "; the next one goes on")

    def _admit(self, untrusted_envelope: str) -> Word:
        return self.admission.take(untrusted_envelope, now=int(time.time()))

    def _look(self) -> None:
        """A listener has come: tell now what could not be told without one."""
        self.reconciler.ring()
        self.watcher.ring()

    def _observe(self) -> None:
        observer.observe_for_ever(self.dom0.settings, self.dom0.xl, self.sender, self.watcher)

    def _read_facts(self) -> None:
        """What the first order would otherwise wait for."""
        try:
            logger.info("new machines are %s here", self.dom0.best_type)
        except XlUnreadable as error:
            logger.warning("%s", error)


def _open_socket(config: Settings) -> socket.socket:
    listener = local_socket.account(config.listener_user) if os.geteuid() == 0 else None
    return local_socket.listen(config.agent_socket, group=listener[1] if listener else None)


def _uids(config: Settings) -> set[int]:
    """Root, the listener's account, and whoever runs this: on a laptop both are the same person's."""
    listener = local_socket.account(config.listener_user)
    return {0, os.geteuid(), *([listener[0]] if listener else [])}


def main() -> None:
    core_dumps.forbid()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config = settings.read(os.environ, needs_broker=False)
    config.make_directories()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        # Two of them would take the socket from one another.
        with locked(config.state_dir / "agent.lock", wait_seconds=10.0):
            workspaces.remove_left(seed_files.WORKSPACE)
            agent = Agent(config)
            agent.start()
            stopping.wait()
            agent.stop()
            shell.end_listeners()
            logging.shutdown()
            # Threads in the midst of a job would be waited for; the journal knows what they were doing.
            os._exit(0)
    except LockHeld:
        raise SystemExit("another agent has this state directory") from None


if __name__ == "__main__":
    main()
