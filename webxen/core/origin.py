"""Check the Origin of WebSocket handshakes. Pure: headers in, reason for refusal out.

A browser always sends the page's true origin; other programs may omit the header.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from django.http.request import split_domain_port, validate_host

#: maximum number of characters of an untrusted header in a log line
MAX_SHOWN = 200

Headers = Iterable[tuple[bytes, bytes]]


def header(headers: Headers, name: bytes) -> str | None:
    """Return the value of a header; None if it is missing or occurs several times."""
    values = [value.decode("latin-1") for key, value in headers if key == name]
    return values[0] if len(values) == 1 else None


def find_fault(
    headers: Headers, *, is_secure: bool, allowed_hosts: Iterable[str], trusted: Iterable[str]
) -> str:
    """Return the reason to refuse the handshake, for the log; empty if it is accepted.

    The origin must equal the address the socket was opened at, or be one the settings trust.
    """
    pairs = list(headers)
    host = header(pairs, b"host") or ""
    if not validate_host(split_domain_port(host)[0], list(allowed_hosts)):
        return f"the host {host[:MAX_SHOWN]!a} is not in WEBXEN_ALLOWED_HOSTS"
    origins = [value for key, value in pairs if key == b"origin"]
    if not origins:
        return ""
    if len(origins) > 1:
        return "it names several origins"
    origin = origins[0].decode("latin-1")
    own = f"{'https' if is_secure else 'http'}://{host.lower()}"
    if origin in trusted or (origin == own and urlsplit(origin).netloc):
        return ""
    return f"its origin {origin[:MAX_SHOWN]!a} is neither {own!a} nor in WEBXEN_TRUSTED_ORIGINS"
