"""The agent's queue of outgoing messages, from which a listener takes them to the broker.

It is not a store: a message that no listener can take raises PortalAway in its sender. End reports are kept
in the journal and sent again.
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
from worker.ipc.errors import PortalAway
from worker.ipc.local_socket import BadFrame, Word

logger = logging.getLogger(__name__)

#: how long a listener may take to report whether the broker accepted a message
ANSWER_SECONDS = 30.0
#: how often a waiting listener's connection is checked
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
    """Passes messages from the agent's threads to the connected listeners."""

    def __init__(self, *, on_listener: Callable[[], None]) -> None:
        self._on_listener = on_listener
        self._waiting: queue.SimpleQueue[OutgoingMessage] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._listeners = 0

    def carry(self, task: str, envelope: str) -> None:
        """Send a message and wait until the broker has accepted it.

        Raises PortalAway when no listener is connected, when it does not answer within 30 s, or when the
        broker did not accept the message.
        """
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
        """Serve one listener until it disconnects. Its first NEXT has been read.

        Raises BadFrame and OSError.
        """
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
        """The next message, or None when the listener disconnected while it waited."""
        while True:
            try:
                parcel = self._waiting.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                # The listener sends nothing while it waits, so a readable socket means a disconnect or a
                # protocol error.
                if select.select([connection], [], [], 0)[0]:
                    return None
                continue
            if not parcel.is_settled.is_set():  # the sender stopped waiting
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
