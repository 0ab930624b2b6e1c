"""The process that receives hosts' messages (`manage.py reports`): reads their queues until it is stopped.

While the broker or the database is away, it waits and continues. `receive` handles the messages; `queues`
decides their order.
"""

import logging
import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, reset_queries
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from webxen.enrolment import broker_accounts
from webxen.inbox.queues import WAIT_SECONDS, Inbox, Taken
from webxen.inventory import queries as inventory
from worker import contract

log = logging.getLogger(__name__)

#: interval of looking for new hosts and long queues
LOOK_SECONDS = 5.0
RETRY_SECONDS = 1.0
#: a message that the database refused for this long is dropped; the sweep requests results of jobs again
GIVE_UP_SECONDS = 60.0

Receive = Callable[[str, object], None]
NoteFlood = Callable[[str], object]


class Reader:
    """Calls `receive(task, untrusted_envelope)` for messages, `note_flood(host)` for hosts with dropped
    ones.
    """

    def __init__(self, receive: Receive, note_flood: NoteFlood, *, url: str) -> None:
        self._receive, self._note_flood = receive, note_flood
        self._client = _connect(url)
        self._inbox = Inbox(self._client)
        self._stopped = threading.Event()
        self._looked_at = float("-inf")
        #: hosts known to write queues of their own
        self._apart: set[str] = set()
        self._refused: tuple[bytes, float] = (b"", 0.0)
        #: last error that was logged, so that it is logged once
        self._said = ""

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        """Handle messages until `stop` is called, whatever errors the broker or the database return."""
        while not self._stopped.is_set():
            close_old_connections()
            reset_queries()
            try:
                self._turn()
            except (RedisError, OSError) as error:
                self._wait_for("the broker", error)
                self._client.connection_pool.disconnect()
            except (OperationalError, InterfaceError) as error:
                self._wait_for("the database", error)
            else:
                self._say("")

    def _turn(self) -> None:
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._inbox.listen_to(inventory.names_of_hosts())
            flooding = self._inbox.shorten()
            self._looked_at = time.monotonic()
            for name in filter(None, flooding):
                self._note_flood(name)
        taken = self._inbox.take()
        if taken is not None:
            self._work_on(taken)

    def _work_on(self, taken: Taken) -> None:
        try:
            item = contract.read_item(taken.raw)
        except contract.BadItem as fault:
            log.warning("dropped an item from the queue %s: %s", taken.queue, fault)
            return
        if taken.is_old and item.task == contract.TASK_OBSERVATION:
            log.info("an observation was dropped: it had waited on the queue")
            return
        try:
            if taken.host and taken.host not in self._apart:
                broker_accounts.note_own_queue(name=taken.host)
                self._apart.add(taken.host)
            self._receive(item.task, item.untrusted_envelope)
        except (OperationalError, InterfaceError):
            self._keep(taken, item.task)
            raise
        # the top of the process: a bug must be logged, but not end the process that serves all hosts
        except Exception:
            log.exception("a message on the queue %s could not be worked on", taken.queue)

    def _keep(self, taken: Taken, task: str) -> None:
        """Put a report back while the database is away."""
        now = time.monotonic()
        if task == contract.TASK_OBSERVATION:
            return  # a newer observation follows
        if self._refused[0] != taken.raw:
            self._refused = (taken.raw, now)
        if now - self._refused[1] < GIVE_UP_SECONDS:
            self._inbox.put_back(taken)

    def _wait_for(self, whom: str, error: Exception) -> None:
        self._say(f"{whom} is away: {error}")
        self._stopped.wait(RETRY_SECONDS)

    def _say(self, what: str) -> None:
        if what and what != self._said:
            log.warning("%s", what)
        elif self._said and not what:
            log.info("hosts are heard again")
        self._said = what


def _connect(url: str) -> "Redis":
    """A client without retries whose timeout is longer than a blocking read."""
    return Redis.from_url(
        url.replace("redis+socket://", "unix://", 1),
        socket_timeout=WAIT_SECONDS + 10,
        socket_connect_timeout=3,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def reader(receive: Receive, note_flood: NoteFlood) -> Reader:
    return Reader(receive, note_flood, url=settings.WEBXEN_REDIS_URL)
