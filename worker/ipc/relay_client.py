"""The agent's client of `relayd`, which has the network access for migrations.

Three requests (WHO, LISTEN, CONNECT) and their answers, each one line of JSON. After the answer "connected"
the socket carries the bytes of the migration. Standard library only.
"""

import json
import select
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.ipc import local_socket

#: longest line; a certificate has about 700 bytes
MAX_LINE = 16384
ANSWER_SECONDS = 10.0


class RelayAway(Exception):
    """relayd does not answer, or cannot do what was asked. The text may be shown to users."""


@dataclass(frozen=True)
class Identity:
    certificate: str
    address: str


def identify(path: Path) -> Identity:
    """This host's relay certificate and address. Raises RelayAway."""
    with _ask(path, {"what": "WHO"}) as link:
        answer = read_line(link)
    return Identity(_text(answer, "certificate"), _text(answer, "address"))


def listen(path: Path, *, certificate: str, source: str = "") -> tuple[socket.socket, int]:
    """Make relayd wait for the host with this certificate. Returns the link and the TCP port. Raises
    RelayAway.

    `source` is the IP address that host is expected to connect from; "" if it is not known.
    """
    link = _ask(path, {"what": "LISTEN", "certificate": certificate, "address": source})
    try:
        port = read_line(link).get("port")
    except RelayAway:
        link.close()
        raise
    if type(port) is not int:
        link.close()
        raise RelayAway("relayd names no port")
    return link, port


def connect(path: Path, *, address: str, port: int, certificate: str) -> socket.socket:
    """Make relayd connect to another host. Returns the link. Raises RelayAway."""
    question = {"what": "CONNECT", "address": address, "port": port, "certificate": certificate}
    return _ask(path, question)


def is_connected(link: socket.socket, *, wait_seconds: float) -> bool:
    """Whether the other host is connected, after at most `wait_seconds`.

    Raises RelayAway when it cannot be.
    """
    if not select.select([link], [], [], wait_seconds)[0]:
        return False
    if read_line(link).get("connected") is not True:
        raise RelayAway("relayd does not say that it is connected")
    return True


def write_line(link: socket.socket, values: Mapping[str, Any]) -> None:
    """Send one line of JSON. Raises OSError."""
    link.sendall(json.dumps(values).encode() + b"\n")


def read_line(link: socket.socket) -> dict[str, Any]:
    """One answer, read byte by byte: the bytes after it belong to the migration. Raises RelayAway."""
    line = b""
    try:
        link.settimeout(ANSWER_SECONDS)
        while not line.endswith(b"\n"):
            piece = link.recv(1)
            if not piece or len(line) > MAX_LINE:
                raise RelayAway("relayd has hung up")
            line += piece
        values = json.loads(line)
    except (OSError, ValueError) as error:
        raise RelayAway(f"relayd cannot be understood: {error}") from None
    if not isinstance(values, dict):
        raise RelayAway("relayd cannot be understood")
    if values.get("error"):
        raise RelayAway(str(values["error"])[:300])
    return values


def _ask(path: Path, question: Mapping[str, Any]) -> socket.socket:
    try:
        link = local_socket.connect(path)
    except local_socket.AgentUnavailable as error:
        raise RelayAway(f"the relay service of this host does not answer ({error})") from None
    try:
        link.settimeout(ANSWER_SECONDS)
        write_line(link, question)
    except OSError as error:
        link.close()
        raise RelayAway(f"the relay service of this host does not answer ({error})") from None
    return link


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise RelayAway(f"relayd names no {name}")
    return value
