"""The agent's Unix socket: the listener submits orders and collects messages through it.

Defines the frames, the socket and its permissions, and the two calls of the listener, `hand_in` and `fetch`.
Uses the standard library only, because the agent depends on it. Orders are executed by
`worker.agent.executor`.
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

#: head of a frame: one byte for the message type, then the length of the body
HEAD = struct.Struct(">cI")
#: SO_PEERCRED returns a struct ucred: pid, uid, gid (unix(7))
PEER = struct.Struct("3i")
#: time limit for one frame
FRAME_SECONDS = 10.0


class Word(Enum):
    """All message types. Any other byte is refused."""

    #: listener → agent: an envelope as it came from the queue
    OBEY = b"O"
    #: agent → listener: accepted / too many in progress, to be sent again / not a valid order
    TAKEN = b"T"
    BUSY = b"B"
    DROPPED = b"D"
    #: listener → agent: request for the next message to the portal
    NEXT = b"N"
    #: agent → listener: a sealed report / a sealed observation
    REPORT = b"R"
    OBSERVATION = b"V"
    #: listener → agent: the broker accepted the message / did not accept it
    ACK = b"A"
    AWAY = b"X"


WITH_ENVELOPE = {Word.OBEY, Word.REPORT, Word.OBSERVATION}


class BadFrame(Exception):
    """A frame has an unknown type or is too long. The connection must be closed."""


class AgentUnavailable(Exception):
    """The agent does not accept a connection, or closed it."""


@dataclass(frozen=True)
class Frame:
    word: Word
    envelope: str = ""


def send(connection: socket.socket, word: Word, envelope: str = "") -> None:
    """Send one frame. Raises OSError, and BadFrame for an envelope that is too long or not Unicode."""
    try:
        body = envelope.encode()
    except UnicodeEncodeError:
        raise BadFrame("the envelope is not Unicode") from None
    if len(body) > MAX_ENVELOPE_BYTES:
        raise BadFrame(f"the envelope is too long ({len(body)} bytes)")
    connection.sendall(HEAD.pack(word.value, len(body)) + body)


def receive(connection: socket.socket) -> Frame | None:
    """One frame, or None if the peer closed the connection between frames. Raises BadFrame and OSError."""
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
    """A path for the socket that fits into 107 bytes (unix(7)), however long the path of its folder is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path, *, group: int | None) -> socket.socket:
    """Create the socket with mode 600, or 660 and this group if one is given. Raises OSError."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short(path) as name:
        # A chmod after bind would leave a moment in which anybody could connect.
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
    """Connect to the agent. Raises AgentUnavailable."""
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
    """The user id of the process at the other end, as the kernel reports it."""
    _pid, uid, _gid = PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
    return int(uid)


def account(user: str) -> tuple[int, int] | None:
    """The user id and group id of an account, or None if it does not exist."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return None
    return found.pw_uid, found.pw_gid


# --- the listener's two calls ----------------------------------------------------------------------


def hand_in(path: Path, envelope: str) -> Word:
    """Submit an envelope. Returns TAKEN, BUSY or DROPPED. Raises AgentUnavailable and BadFrame."""
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
    """Publish the agent's messages one at a time, until `is_over` or until the agent closes the connection.

    `publish` returns whether the broker accepted a message. Raises AgentUnavailable and BadFrame.
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
