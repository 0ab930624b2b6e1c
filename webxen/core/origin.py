"""Whether a page that opens a WebSocket is one of ours. Pure: headers in, the reason against it out.

A browser names the page's origin and cannot be made to lie about it; a program may leave it out.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from django.http.request import split_domain_port, validate_host

#: characters of a stranger's header that a log line shows
MAX_SHOWN = 200

Headers = Iterable[tuple[bytes, bytes]]


def header(headers: Headers, name: bytes) -> str | None:
    values = [value.decode("latin-1") for key, value in headers if key == name]
    return values[0] if len(values) == 1 else None


def find_fault(
    headers: Headers, *, is_secure: bool, allowed_hosts: Iterable[str], trusted: Iterable[str]
) -> str:
    """Why the page that opens the socket is none of ours, for the log; nothing where it is.

    Its origin must be the very address the socket was opened at, or one the settings trust.
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
