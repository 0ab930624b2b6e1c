"""Whether a page that opens a WebSocket is one of ours. Pure: headers in, yes or no out.

A browser names the page's origin and cannot be made to lie about it; a program may leave it out.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from django.http.request import split_domain_port, validate_host

Headers = Iterable[tuple[bytes, bytes]]


def header(headers: Headers, name: bytes) -> str | None:
    values = [value.decode("latin-1") for key, value in headers if key == name]
    return values[0] if len(values) == 1 else None


def is_own(
    headers: Headers, *, is_secure: bool, allowed_hosts: Iterable[str], trusted: Iterable[str]
) -> bool:
    """The origin is the very address the socket was opened at, or one the settings trust."""
    pairs = list(headers)
    host = header(pairs, b"host") or ""
    if not validate_host(split_domain_port(host)[0], list(allowed_hosts)):
        return False
    origins = [value for key, value in pairs if key == b"origin"]
    if not origins:
        return True
    if len(origins) > 1:
        return False
    origin = origins[0].decode("latin-1")
    if origin in trusted:
        return True
    return origin == f"{'https' if is_secure else 'http'}://{host.lower()}" and bool(urlsplit(origin).netloc)
