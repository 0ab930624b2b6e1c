"""The agent's Unix socket: the listener hands orders in and takes messages out.

Lives here: the frames, the socket itself, who may knock, and the listener's two calls (`hand_in`, `fetch`).
Standard library only: the agent stands on this. What an envelope makes the host do is `orders`.
"""

import os
import pwd
import socket
import struct
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from worker.contract import MAX_ENVELOPE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

#: a frame is one word, the length of what follows, and that
HEAD = struct.Struct(">cI")
#: SO_PEERCRED gives a struct ucred: pid, uid, gid
PEER = struct.Struct("3i")
#: a listener that has knocked and says nothing for this long is let go
FRAME_SECONDS = 10.0


class Word(Enum):
    """All that can be said. Nothing else is ever read from the socket."""

    #: listener: an envelope from the queue, as it came
    OBEY = b"O"
    #: agent: it will be looked at / too much is under way, let it be sent again / it is no order for us
    TAKEN = b"T"
    BUSY = b"B"
    DROPPED = b"D"
    #: listener: give me the next message for the portal
    NEXT = b"N"
    #: agent: a sealed report / a sealed observation
    REPORT = b"R"
    OBSERVATION = b"V"
    #: listener: the broker has taken it / it has not
    ACK = b"A"
    AWAY = b"X"


WITH_ENVELOPE = {Word.OBEY, Word.REPORT, Word.OBSERVATION}


class BadFrame(Exception):
    """What came is none of the words, or too long; the connection is of no more use."""


class AgentUnavailable(Exception):
    """Nobody opens, or whoever did has gone."""


@dataclass(frozen=True)
class Frame:
    word: Word
    envelope: str = ""


def send(connection: socket.socket, word: Word, envelope: str = "") -> None:
    """Raises OSError, and BadFrame for an envelope that would not be taken."""
    try:
        body = envelope.encode()
    except UnicodeEncodeError:
        raise BadFrame("the envelope is not Unicode") from None
    if len(body) > MAX_ENVELOPE_BYTES:
        raise BadFrame(f"the envelope is too long ({len(body)} bytes)")
    connection.sendall(HEAD.pack(word.value, len(body)) + body)


def receive(connection: socket.socket) -> Frame | None:
    """One frame; None when the other side has hung up between two. Raises BadFrame and OSError."""
    head = _read(connection, HEAD.size)
    if not head:
        return None
    letter, length = HEAD.unpack(head)
    try:
        word = Word(letter)
    except ValueError:
        raise BadFrame(f"{letter!r} is no word") from None
    if length > (MAX_ENVELOPE_BYTES if word in WITH_ENVELOPE else 0):
        raise BadFrame(f"{word.name} with {length} bytes is too long")
    try:
        return Frame(word, _read(connection, length).decode())
    except UnicodeDecodeError:
        raise BadFrame("the envelope is not UTF-8") from None


def _read(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        piece = connection.recv(min(size - len(parts), 65536))
        if not piece and parts:
            raise BadFrame("the connection broke off within a frame")
        if not piece:
            break
        parts += piece
    if len(parts) < size and size != HEAD.size:
        raise BadFrame("the connection broke off within a frame")
    return bytes(parts)


# --- the socket --------------------------------------------------------------------------------


@contextmanager
def _short(path: Path) -> "Iterator[str]":
    """A name for the socket that fits into 107 bytes, however deep its folder lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path, *, group: int | None) -> socket.socket:
    """Open the socket: for its owner and, where given, for one group."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short(path) as name:
        # The mode must be right from the first moment, not only after a chmod.
        before = os.umask(0o177)
        try:
            listener.bind(name)
        finally:
            os.umask(before)
    if group is not None:
        os.chown(path, -1, group)
        path.chmod(0o660)
    listener.listen(64)
    return listener


def connect(path: Path) -> socket.socket:
    """Knock. Raises AgentUnavailable."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(FRAME_SECONDS)
        with _short(path) as name:
            connection.connect(name)
    except OSError as error:
        connection.close()
        raise AgentUnavailable(f"{path}: {error.strerror or error}") from None
    return connection


def uid_of_peer(connection: socket.socket) -> int:
    """Whose process is at the other end: the kernel says so, not the process."""
    _pid, uid, _gid = PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
    return int(uid)


def account(user: str) -> tuple[int, int] | None:
    """The uid and group of the account that the listener runs as; None where there is none."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return None
    return found.pw_uid, found.pw_gid


# --- the listener's two calls ----------------------------------------------------------------------


def hand_in(path: Path, envelope: str) -> Word:
    """Hand an envelope in; the answer is TAKEN, BUSY or DROPPED. Raises AgentUnavailable and BadFrame."""
    with connect(path) as connection:
        try:
            send(connection, Word.OBEY, envelope)
            answer = receive(connection)
        except OSError as error:
            raise AgentUnavailable(str(error)) from error
    if answer is None:
        raise AgentUnavailable("it hung up")
    if answer.word not in (Word.TAKEN, Word.BUSY, Word.DROPPED):
        raise BadFrame(f"{answer.word.name} is no answer")
    return answer.word


def fetch(path: Path, publish: Callable[[Word, str], bool], *, is_over: Callable[[], bool]) -> None:
    """Carry the agent's messages up, one at a time, for as long as it is there.

    `publish` says whether the broker took one. Raises AgentUnavailable and BadFrame.
    """
    with connect(path) as connection:
        connection.settimeout(None)
        try:
            while not is_over():
                send(connection, Word.NEXT)
                frame = receive(connection)
                if frame is None:
                    raise AgentUnavailable("it hung up")
                if frame.word not in (Word.REPORT, Word.OBSERVATION):
                    raise BadFrame(f"{frame.word.name} is no message")
                is_taken = publish(frame.word, frame.envelope)
                send(connection, Word.ACK if is_taken else Word.AWAY)
        except OSError as error:
            raise AgentUnavailable(str(error)) from error
