"""The queues on which hosts report, read in rotation by one process and limited in length.

Each host writes two queues that no other host can write: reports of its jobs, and observations of itself, of
which only the newest counts. Older workers share one queue, which takes part in the rotation. `tasks` handles
the messages, which `reader` passes on.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from worker import contract

log = logging.getLogger(__name__)

#: how long an empty inbox is waited for
WAIT_SECONDS = 1
#: after a longer pause, observations in the queues are outdated
PAUSE_SECONDS = 30.0
#: limit per queue, in Redis's memory
MOST_BYTES = 16 << 20
#: a queue with fewer messages cannot be much larger than MOST_BYTES
FEW = MOST_BYTES // contract.MAX_ITEM_BYTES


@dataclass(frozen=True)
class Taken:
    queue: str
    #: the host of the queue; "": the queue shared by older workers
    host: str
    raw: bytes
    #: it was queued while this process did not read
    is_old: bool


class Inbox:
    """The queues of all hosts in Redis. Every method raises RedisError and OSError."""

    def __init__(self, client: Any, *, now: Callable[[], float] = time.monotonic) -> None:
        self._client, self._now = client, now
        self._turns: deque[str] = deque([contract.QUEUE_REPORTS])
        self._host_of = {contract.QUEUE_REPORTS: ""}
        self._listened_at: float | None = None
        #: messages on the shared queue that arrived while this process did not read
        self._old = 0

    def listen_to(self, hosts: Iterable[str]) -> None:
        """Read the queues of exactly these hosts from now on."""
        wanted = {contract.QUEUE_REPORTS: ""}
        for host in hosts:
            wanted[contract.report_queue_for(host)] = host
            wanted[contract.observation_queue_for(host)] = host
        kept = [queue for queue in self._turns if queue in wanted]
        self._turns = deque([*kept, *(queue for queue in wanted if queue not in self._host_of)])
        self._host_of = wanted

    def take(self) -> Taken | None:
        """Return the next message, or None if none arrived within WAIT_SECONDS.

        The queue moves to the end of the rotation, so that a host with many messages does not delay the
        others.
        """
        self._notice_pause()
        found: Any = self._client.brpop(list(self._turns), timeout=WAIT_SECONDS)
        self._listened_at = self._now()
        if not found:
            return None
        queue, raw = found[0].decode(), found[1]
        self._turns.remove(queue)
        self._turns.append(queue)
        is_old = queue == contract.QUEUE_REPORTS and self._old > 0
        self._old -= is_old
        return Taken(queue, self._host_of[queue], raw, is_old)

    def put_back(self, taken: Taken) -> None:
        """Put a message back that could not be handled; it is its queue's next one."""
        self._client.rpush(taken.queue, taken.raw)

    def shorten(self) -> list[str]:
        """Drop messages beyond the limits; return the names of the hosts concerned, "" for the shared
        queue.
        """
        queues = list(self._host_of)
        counts = self._ask(queues, lambda pipe, queue: pipe.llen(queue))
        crowded = [queue for queue, count in counts.items() if count > FEW]
        sizes = self._ask(crowded, lambda pipe, queue: pipe.memory_usage(queue))
        dropped = set()
        for queue, size in sizes.items():
            most, _ = contract.limits_of(queue) or contract.REPORTS_KEPT
            if (size or 0) > MOST_BYTES:
                self._client.unlink(queue)
            elif counts[queue] > most:
                self._client.ltrim(queue, 0, most - 1)
            else:
                continue
            log.warning(
                "%s said too much: %d messages (%d bytes) waited on %s, and the oldest were dropped",
                self._host_of[queue] or "a host with an older worker",
                counts[queue],
                size or 0,
                queue,
            )
            dropped.add(self._host_of[queue])
        return sorted(dropped)

    def _ask(self, queues: list[str], ask: Callable[[Any, str], object]) -> dict[str, int]:
        pipe = self._client.pipeline(transaction=False)
        for queue in queues:
            ask(pipe, queue)
        return dict(zip(queues, pipe.execute(), strict=True))

    def _notice_pause(self) -> None:
        """Drop observations that arrived during a pause, so that a host that died meanwhile does not look
        alive.

        Nothing is lost: a running host reports every ten seconds.
        """
        if self._listened_at is not None and self._now() - self._listened_at <= PAUSE_SECONDS:
            return
        seen = [contract.observation_queue_for(host) for host in self._host_of.values() if host]
        if seen:
            self._client.unlink(*dict.fromkeys(seen))
        self._old = int(self._client.llen(contract.QUEUE_REPORTS))
