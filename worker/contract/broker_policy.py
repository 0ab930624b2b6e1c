"""Checks that the broker is closed to strangers. Portal and host call it before they start.

It is shared, so that both refuse for the same reasons with the same text. It sends nothing but PING. Standard
library only.
"""

import contextlib
import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qs, urlsplit

#: the required value of WEBXEN_ALLOW_OPEN_BROKER
OPEN_WORDS = "yes, anybody may type at our consoles"
#: the required value of WEBXEN_ALLOW_PLAIN_BROKER
PLAIN_WORDS = "yes, the wire is ours alone"
TIMEOUT_SECONDS = 2.0
#: answers to PING of a broker that accepts an unauthenticated client; otherwise an authentication error comes
#: first
LET_IN = (b"+PONG", b"-BUSY", b"-LOADING", b"-MASTERDOWN", b"-MISCONF", b"-OOM", b"-READONLY")


class BrokerOpen(Exception):
    """The broker would accept strangers; the text names the cure."""


def check(url: str, *, open_words: str, plain_words: str) -> None:
    """Raises BrokerOpen. A broker that does not answer is accepted, because it may start later."""
    parts = urlsplit(url.replace("redis+socket://", "unix://", 1))
    if parts.scheme == "redis" and not _is_loopback(parts.hostname or "") and plain_words != PLAIN_WORDS:
        raise BrokerOpen(
            f"the broker at {parts.hostname} is spoken to without TLS: use rediss:// and "
            "WEBXEN_BROKER_CA_FILE, "
            f'or say WEBXEN_ALLOW_PLAIN_BROKER="{PLAIN_WORDS}"'
        )
    if open_words != OPEN_WORDS and _lets_anybody_in(parts):
        raise BrokerOpen(
            "the broker lets anybody in who can reach it (its user `default` needs no password): give it a "
            "password or an access list (docs/operating.md, The broker), "
            f'or say WEBXEN_ALLOW_OPEN_BROKER="{OPEN_WORDS}"'
        )


def _is_loopback(name: str) -> bool:
    if name in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _lets_anybody_in(parts: SplitResult) -> bool:
    if parts.scheme == "unix" and not _is_for_others(parts.path):
        return False
    try:
        with _connection(parts) as wire:
            wire.sendall(b"PING\r\n")
            return wire.recv(64).startswith(LET_IN)
    except OSError:  # ssl.SSLError is one
        return False


def _is_for_others(path: str) -> bool:
    """Whether other accounts of this machine can connect, which takes the right to write to the socket."""
    try:
        return bool(stat.S_IMODE(os.stat(path).st_mode) & 0o022)  # noqa: PTH116 - a path from a URL
    except OSError:
        return False


@contextlib.contextmanager
def _connection(parts: SplitResult) -> Iterator[socket.socket]:
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(TIMEOUT_SECONDS)
            wire.connect(parts.path)
            yield wire
        return
    address = (parts.hostname or "localhost", parts.port or 6379)
    with socket.create_connection(address, TIMEOUT_SECONDS) as plain:
        if parts.scheme != "rediss":
            yield plain
            return
        ca_file = parse_qs(parts.query).get("ssl_ca_certs", [None])[0]
        with ssl.create_default_context(cafile=ca_file).wrap_socket(
            plain, server_hostname=parts.hostname
        ) as wire:
            yield wire
