"""`python -m worker.relayd.daemon`: the relay's network access to other hosts.

It opens TLS to exactly the host that the agent names, and copies bytes in both directions. It runs without
root under an account of its own, has its own key, and accepts requests over a Unix socket from root and its
own account only. It does not parse what it copies; GO is held back in the agent.
"""

import contextlib
import ipaddress
import logging
import os
import queue
import select
import signal
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any

from worker import core_dumps, settings
from worker.ipc import local_socket, relay_client
from worker.ipc.relay_client import RelayAway
from worker.relayd.keys import Identity, is_peer
from worker.relayd.port import WELCOME, Port, notice_silence
from worker.settings import Settings

logger = logging.getLogger(__name__)

#: bytes buffered in one direction before the sender is no longer read
MOST_WAITING = 1 << 18
#: longest wait for another host; the agent closes the link when its own deadline passes
COME_SECONDS = 3600.0
CONNECT_SECONDS = 15.0
MOST_LINKS = 16
#: an address for documentation (RFC 5737): connecting a UDP socket to it only selects the local address
ELSEWHERE = ("192.0.2.1", 9)


class Relayd:
    """Serves the Unix socket, one thread per link."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        config.relay_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._identity = Identity(config.relay_dir)
        self._seats = threading.BoundedSemaphore(MOST_LINKS)
        self._listener = local_socket.listen(config.relay_socket, group=None)

    def serve_for_ever(self) -> None:
        """Accept links until the socket is closed."""
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            if local_socket.uid_of_peer(link) not in {0, os.geteuid()} or not self._seats.acquire(
                blocking=False
            ):
                logger.warning("refused a link")
                link.close()
                continue
            threading.Thread(target=self._attend, args=(link,), name="link", daemon=True).start()

    def stop(self) -> None:
        """Close the socket, which ends `serve_for_ever`."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _attend(self, link: socket.socket) -> None:
        try:
            with link:
                self._answer(link, relay_client.read_line(link))
        except (RelayAway, OSError, ValueError) as error:
            logger.warning("a link ended: %s", error)
        finally:
            self._seats.release()

    def _answer(self, link: socket.socket, question: Mapping[str, Any]) -> None:
        what, certificate = question.get("what"), str(question.get("certificate"))
        if what == "WHO":
            own = {"certificate": self._identity.certificate, "address": self._address()}
            relay_client.write_line(link, own)
            return
        try:
            if what == "LISTEN":
                peer = self._await_host(link, certificate, str(question.get("address") or ""))
            else:
                peer = self._go_to(str(question.get("address")), question.get("port"), certificate)
        except (RelayAway, OSError, ValueError) as error:
            relay_client.write_line(link, {"error": str(error)})
            return
        with peer:
            relay_client.write_line(link, {"connected": True})
            carry(link, peer)

    def _address(self) -> str:
        if self._config.relay_address:
            return self._config.relay_address
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(ELSEWHERE)
            except OSError:
                return ""
            return str(probe.getsockname()[0])

    def _await_host(self, link: socket.socket, certificate: str, source: str) -> ssl.SSLSocket:
        context = self._identity.context(certificate, is_server=True)
        with Port(self._address(), context, certificate, source=source) as port:
            relay_client.write_line(link, {"port": port.number})
            until = time.monotonic() + COME_SECONDS
            while time.monotonic() < until:
                if _has_hung_up(link):
                    raise RelayAway("nobody waits any more")
                with contextlib.suppress(queue.Empty):
                    return port.came.get(timeout=0.5)
        raise RelayAway("the other host did not come")

    def _go_to(self, address: str, port: object, certificate: str) -> ssl.SSLSocket:
        if type(port) is not int or not 0 < port < 65536:
            raise RelayAway("it is no port")
        where = (str(ipaddress.ip_address(address)), port)
        context = self._identity.context(certificate, is_server=False)
        raw = socket.create_connection(
            where, timeout=CONNECT_SECONDS, source_address=self._source_for(address)
        )
        peer: socket.socket = raw
        try:
            notice_silence(raw)
            peer = context.wrap_socket(raw)
            if _greet(peer, certificate):
                return peer
        except OSError as error:
            peer.close()
            raise RelayAway(f"the other host does not answer as it should: {error}") from error
        peer.close()
        raise RelayAway("the other host is not the one it should be")

    def _source_for(self, address: str) -> tuple[str, int] | None:
        """The configured relay address as source, if the versions match: the other host expects connections
        from it.
        """
        own = self._config.relay_address
        is_like = own and ipaddress.ip_address(own).version == ipaddress.ip_address(address).version
        return (own, 0) if is_like else None


def _greet(peer: ssl.SSLSocket, certificate: str) -> bool:
    """Whether the server is the named host and has accepted this host's certificate. Raises OSError."""
    # In TLS 1.3 a client's handshake ends before the server has verified the client's certificate. The server
    # sends WELCOME once it has.
    return is_peer(peer, certificate) and peer.recv(1) == WELCOME


def _has_hung_up(link: socket.socket) -> bool:
    link.settimeout(0.0)
    try:
        return link.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        link.settimeout(relay_client.ANSWER_SECONDS)


# --- bytes -------------------------------------------------------------------------------------


class Way:
    """One direction, with its buffer of bytes that were read and not written yet."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self._memory = memoryview(bytearray(MOST_WAITING))
        self._begin = self._end = 0
        #: reading stopped because the buffer was full: TLS may hold more, which poll cannot see
        self.is_unread = False
        self.is_over = False

    @property
    def is_waiting(self) -> bool:
        return self._begin < self._end

    @property
    def has_room(self) -> bool:
        return not self.is_over and self._end < MOST_WAITING

    def move(self) -> None:
        """Read until nothing is left or the buffer is full, then write."""
        self.is_unread = False
        try:
            while self.has_room:
                size = self.source.recv_into(self._memory[self._end :])
                self.is_over = not size
                self._end += size
            self.is_unread = not self.is_over
        except TRY_LATER:
            pass
        except OSError:
            self.is_over = True
        try:
            while self.is_waiting:
                self._begin += self.target.send(self._memory[self._begin : self._end])
        except TRY_LATER:
            return
        self._begin = self._end = 0


TRY_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def carry(link: socket.socket, peer: ssl.SSLSocket) -> None:
    """Copy in both directions until either end disconnects. What it sent before is still delivered."""
    link.settimeout(0.0)
    peer.settimeout(0.0)
    down, up = Way(link, peer), Way(peer, link)
    while True:
        down.move()
        up.move()
        if any(way.is_over and not way.is_waiting for way in (down, up)):
            return
        poll = select.poll()
        for end, there, back in ((peer, down, up), (link, up, down)):
            events = (select.POLLOUT if there.is_waiting else 0) | (select.POLLIN if back.has_room else 0)
            if events:
                poll.register(end, events)
        poll.poll(0 if any(way.is_unread and way.has_room for way in (down, up)) else 1000)


def main() -> None:
    core_dumps.forbid()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    relayd = Relayd(settings.read(os.environ, needs_broker=False))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relayd.stop())
    logger.info("relayd waits for the agent")
    relayd.serve_for_ever()


if __name__ == "__main__":
    main()
