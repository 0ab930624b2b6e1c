"""The queues on which hosts report, as one process reads them: in turn, each kept short.

Lives here: whose message comes next, what waited too long, and what is too much. Each host writes two
queues that no other host can write: what it says of its jobs, and what it says of itself, where only the
newest counts. Older workers share one queue; it takes its turn like any other. What a message means is the
doors' affair (`tasks`), which are told of each by `reading`.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from worker import contract

log = logging.getLogger(__name__)

#: so long an empty inbox is waited at
WAIT_SECONDS = 1
#: after a longer pause this process did not listen: what a host said of itself meanwhile is old
PAUSE_SECONDS = 30.0
#: of one host, in Redis's memory
MOST_BYTES = 16 << 20
#: a queue with fewer messages cannot hold much more
FEW = MOST_BYTES // contract.MAX_ITEM_BYTES


@dataclass(frozen=True)
class Taken:
    queue: str
    #: whose queue it is; "": older workers share it
    host: str
    raw: bytes
    #: it had waited while nobody listened
    is_old: bool


class Inbox:
    """All hosts' queues in Redis. Every method raises RedisError and OSError."""

    def __init__(self, client: Any, *, now: Callable[[], float] = time.monotonic) -> None:
        self._client, self._now = client, now
        self._turns: deque[str] = deque([contract.QUEUE_REPORTS])
        self._host_of = {contract.QUEUE_REPORTS: ""}
        self._listened_at: float | None = None
        #: messages on the shared queue that waited while nobody listened
        self._old = 0

    def listen_to(self, hosts: Iterable[str]) -> None:
        """These hosts, and no others, from now on."""
        wanted = {contract.QUEUE_REPORTS: ""}
        for host in hosts:
            wanted[contract.report_queue_for(host)] = host
            wanted[contract.observation_queue_for(host)] = host
        kept = [queue for queue in self._turns if queue in wanted]
        self._turns = deque([*kept, *(queue for queue in wanted if queue not in self._host_of)])
        self._host_of = wanted

    def take(self) -> Taken | None:
        """The next message, or None when there was none for a second.

        A host that says much is not heard more often than the others: its queue goes to the end.
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
        """It could not be worked on now: it is its queue's next."""
        self._client.rpush(taken.queue, taken.raw)

    def shorten(self) -> list[str]:
        """Drop what is too much; names of the hosts that had written it, "" for those that share a queue."""
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
        """A host that died meanwhile would be taken for alive by what it said before, and given machines.

        Nothing is lost with it: a host that lives shows itself every ten seconds.
        """
        if self._listened_at is not None and self._now() - self._listened_at <= PAUSE_SECONDS:
            return
        seen = [contract.observation_queue_for(host) for host in self._host_of.values() if host]
        if seen:
            self._client.unlink(*dict.fromkeys(seen))
        self._old = int(self._client.llen(contract.QUEUE_REPORTS))
