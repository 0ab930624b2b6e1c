"""The agent's side of what goes up: sealed messages wait here for a listener that takes them to the broker.

Lives here: one message, handed to one listener, and whether it got through. It is not a store: a message
that no listener can take is given back to its sender as PortalAway, and ends wait in the journal.
"""

import logging
import queue
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.contract import TASK_OBSERVATION
from worker.ipc import local_socket
from worker.ipc.local_socket import BadFrame, Word
from worker.job.reporting import PortalAway

logger = logging.getLogger(__name__)

#: a listener that does not say within this time what the broker said has hung up for us
ANSWER_SECONDS = 30.0
#: how soon it is noticed that a waiting listener has gone
LOOK_SECONDS = 1.0


@dataclass
class OutgoingMessage:
    word: Word
    envelope: str
    is_taken: bool = False
    is_settled: threading.Event = field(default_factory=threading.Event)

    def settle(self, *, is_taken: bool) -> None:
        self.is_taken = is_taken
        self.is_settled.set()


class Outbox:
    """Between those who send (threads of the agent) and the listeners that carry."""

    def __init__(self, *, on_listener: Callable[[], None]) -> None:
        self._on_listener = on_listener
        self._waiting: queue.SimpleQueue[OutgoingMessage] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._listeners = 0

    def carry(self, task: str, envelope: str) -> None:
        """Return when the broker has taken it. Raises PortalAway."""
        parcel = OutgoingMessage(Word.OBSERVATION if task == TASK_OBSERVATION else Word.REPORT, envelope)
        with self._lock:
            if not self._listeners:
                raise PortalAway("no listener is there")
            self._waiting.put(parcel)
        if not parcel.is_settled.wait(ANSWER_SECONDS):
            parcel.settle(is_taken=False)
            raise PortalAway("the listener does not answer")
        if not parcel.is_taken:
            raise PortalAway("the broker did not take it")

    def serve(self, connection: socket.socket) -> None:
        """One listener, whose first NEXT has been read, until it goes. Raises BadFrame and OSError."""
        with self._lock:
            self._listeners += 1
        try:
            logger.info("a listener has come")
            self._on_listener()
            while parcel := self._next_for(connection):
                self._hand_over(connection, parcel)
                frame = local_socket.receive(connection)
                if frame is None:
                    return
                if frame.word is not Word.NEXT:
                    raise BadFrame(f"{frame.word.name} where NEXT was due")
        finally:
            self._leave()

    def _next_for(self, connection: socket.socket) -> OutgoingMessage | None:
        """None: the listener has gone while it waited."""
        while True:
            try:
                parcel = self._waiting.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                # It has nothing to say now: readable means that it has gone, or talks out of turn.
                if select.select([connection], [], [], 0)[0]:
                    return None
                continue
            if not parcel.is_settled.is_set():  # its sender has given up waiting
                return parcel

    def _hand_over(self, connection: socket.socket, parcel: OutgoingMessage) -> None:
        is_taken = False
        try:
            connection.settimeout(ANSWER_SECONDS)
            local_socket.send(connection, parcel.word, parcel.envelope)
            answer = local_socket.receive(connection)
            if answer is not None and answer.word not in (Word.ACK, Word.AWAY):
                raise BadFrame(f"{answer.word.name} where ACK or AWAY was due")
            is_taken = answer is not None and answer.word is Word.ACK
        finally:
            parcel.settle(is_taken=is_taken)

    def _leave(self) -> None:
        with self._lock:
            self._listeners -= 1
            if self._listeners:
                return
            while not self._waiting.empty():
                self._waiting.get().settle(is_taken=False)
