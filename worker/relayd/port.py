"""The TCP port at which a relay waits for one host while an order expects a machine from it.

One thread accepts connections and performs all TLS handshakes at the same time, without blocking on one of
them. A silent connection is closed after seconds. When too many connect, the oldest is closed. Other clients
cost one of a few sockets and no thread.
"""

import contextlib
import ipaddress
import logging
import queue
import selectors
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Self

from worker.relayd.keys import is_peer

logger = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 3.0
#: simultaneous handshakes at one port: from the address that the order names, and from all other addresses
MOST_NAMED, MOST_OTHERS = 16, 32
#: connections accepted in one turn, so that handshakes in progress get their turn
MOST_A_TURN = 16
BACKLOG = 256
TURN_SECONDS = 0.5
#: time after which a dead peer is noticed
SILENT_SECONDS = 20
#: version of the protocol between relays; a relay that sends another byte is refused
WELCOME = b"\x02"


@dataclass
class _Guest:
    """A connection whose handshake is not complete."""

    peer: ssl.SSLSocket
    until: float
    is_named: bool
    address: str


class Port:
    """Waits for the host with this certificate. `source` is the address it should connect from, if known.

    Connections from other addresses are counted separately, because a host may have several addresses.
    """

    def __init__(self, address: str, context: ssl.SSLContext, certificate: str, *, source: str = "") -> None:
        self._context, self._certificate = context, certificate
        self._source = ipaddress.ip_address(source) if source else None
        self._listener = socket.create_server((address, 0), backlog=BACKLOG)
        self._listener.settimeout(0.0)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._guests: dict[int, _Guest] = {}
        self._strangers = 0
        self._is_closing = threading.Event()
        self.number: int = self._listener.getsockname()[1]
        self.came: queue.SimpleQueue[ssl.SSLSocket] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="port", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(2 * TURN_SECONDS + HANDSHAKE_SECONDS)

    def _run(self) -> None:
        try:
            while not self._is_closing.is_set() and self.came.empty():
                for key, _ in self._selector.select(TURN_SECONDS):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fd in self._guests:
                        self._go_on(key.fd)
                self._send_away(time.monotonic())
        except OSError as error:
            if not self._is_closing.is_set():
                logger.error("nobody can come to the port any more: %s", error)
        finally:
            for fd in list(self._guests):
                self._let_go(fd)
            self._selector.close()
            self._listener.close()
            if self._strangers:
                logger.warning("%d who came to the port were not the host that was named", self._strangers)

    def _accept(self) -> None:
        for _ in range(MOST_A_TURN):
            try:
                raw, where = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if self._is_closing.is_set():
                    return
                # e.g. no descriptor is free; handshakes in progress end within seconds
                logger.warning("somebody could not be let in: %s", error)
                time.sleep(0.05)
                return
            self._seat(raw, str(where[0]))

    def _seat(self, raw: socket.socket, address: str) -> None:
        """Start a handshake. If the limit is reached, the oldest connection is closed first."""
        is_named = self._source is not None and ipaddress.ip_address(address) == self._source
        alike = [fd for fd, guest in self._guests.items() if guest.is_named == is_named]
        if len(alike) >= (MOST_NAMED if is_named else MOST_OTHERS):
            self._show_out(alike[0], "others came")
        try:
            raw.settimeout(0.0)
            notice_silence(raw)
            peer = self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        except OSError:
            raw.close()
            return
        until = time.monotonic() + HANDSHAKE_SECONDS
        self._guests[peer.fileno()] = _Guest(peer, until, is_named, address)
        self._selector.register(peer, selectors.EVENT_READ)
        self._go_on(peer.fileno())

    def _go_on(self, fd: int) -> None:
        """Continue a handshake."""
        guest = self._guests[fd]
        try:
            guest.peer.do_handshake()
            if not is_peer(guest.peer, self._certificate):
                self._show_out(fd, "it has another certificate")
                return
            guest.peer.settimeout(HANDSHAKE_SECONDS)
            guest.peer.sendall(WELCOME)
        except ssl.SSLWantReadError:
            self._selector.modify(guest.peer, selectors.EVENT_READ)
        except ssl.SSLWantWriteError:
            self._selector.modify(guest.peer, selectors.EVENT_WRITE)
        except OSError as error:
            self._show_out(fd, str(error))
        else:
            self._selector.unregister(guest.peer)
            del self._guests[fd]
            self.came.put(guest.peer)

    def _send_away(self, now: float) -> None:
        for fd, guest in list(self._guests.items()):
            if guest.until < now:
                self._show_out(fd, "it said nothing in time")

    def _show_out(self, fd: int, why: str) -> None:
        # Only the first few are logged, so that many connections do not fill the log.
        self._strangers += 1
        if self._strangers <= 3:
            logger.warning("%s was let go from the port: %s", self._guests[fd].address, why)
        self._let_go(fd)

    def _let_go(self, fd: int) -> None:
        peer = self._guests.pop(fd).peer
        self._selector.unregister(peer)
        with contextlib.suppress(OSError):
            peer.close()


def notice_silence(raw: socket.socket) -> None:
    """Make the kernel end a connection whose peer has silently gone. Raises OSError."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)
