"""The process that hears the hosts (`manage.py reports`): reads their queues in turn until it is stopped.

Lives here: the loop, and what it does when the broker or the database is away: it waits, and goes on. What
a message means is decided behind `receive`; whose turn it is belongs to `inbox`.
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

#: how often new hosts are looked for, and long queues
LOOK_SECONDS = 5.0
RETRY_SECONDS = 1.0
#: a message that the database has refused for this long is given up; an end is asked for again by the sweep
GIVE_UP_SECONDS = 60.0

Receive = Callable[[str, object], None]
NoteFlood = Callable[[str], object]


class Reader:
    """`receive(task, untrusted_envelope)` hears every message; `note_flood(host)` whose were dropped."""

    def __init__(self, receive: Receive, note_flood: NoteFlood, *, url: str) -> None:
        self._receive, self._note_flood = receive, note_flood
        self._client = _connect(url)
        self._inbox = Inbox(self._client)
        self._stopped = threading.Event()
        self._looked_at = float("-inf")
        #: hosts that are known to write queues of their own
        self._apart: set[str] = set()
        self._refused: tuple[bytes, float] = (b"", 0.0)
        #: what was said of the broker last, so that the log says it once
        self._said = ""

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        """Until it is stopped. Whatever the broker or the database answers, this goes on."""
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
        except Exception:  # there is nobody above: a bug must be seen, and not end what hears all hosts
            log.exception("a message on the queue %s could not be worked on", taken.queue)

    def _keep(self, taken: Taken, task: str) -> None:
        """The database is away: what a host said of a job is worked on when it is back."""
        now = time.monotonic()
        if task == contract.TASK_OBSERVATION:
            return  # a newer one follows
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
    """A client that fails at once, and waits for an answer longer than the broker waits for a message."""
    return Redis.from_url(
        url.replace("redis+socket://", "unix://", 1),
        socket_timeout=WAIT_SECONDS + 10,
        socket_connect_timeout=3,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def reader(receive: Receive, note_flood: NoteFlood) -> Reader:
    return Reader(receive, note_flood, url=settings.WEBXEN_REDIS_URL)
