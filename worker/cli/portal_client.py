"""HTTPS requests to the portal that the host makes itself: join, rotate-key, refresh.

Orders and reports do not use it.
"""

import http.client
import ipaddress
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30
MAX_ANSWER_BYTES = 1 << 20


class PortalRefused(Exception):
    """The portal refused, or cannot be reached; the text is one sentence with its cure."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: a token is only for the address it was given for."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        raise PortalRefused(f"the portal sends us on to {newurl}: give the address it answers at itself")


def check_address(url: str, *, allow_plain: bool) -> str:
    """The portal's address without a trailing slash.

    Raises PortalRefused for plain HTTP and malformed addresses.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise PortalRefused(f"{url!r} is no address of a portal: use https://portal.example.org")
    if parts.scheme == "http" and not _is_loopback(parts.hostname) and not allow_plain:
        raise PortalRefused(
            "anybody on the way could read the token and put their own key in place of the portal's: use "
            "https:// (with --ca-file for a certificate of your own), or say --insecure-http"
        )
    return url.rstrip("/")


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def post(url: str, body: dict[str, Any], *, ca_file: Path | None) -> dict[str, Any]:
    """POST JSON. Returns the answer, which is an object. Raises PortalRefused."""
    request = urllib.request.Request(  # noqa: S310 - check_address has checked the scheme
        url, json.dumps(body).encode(), {"Content-Type": "application/json", "Accept": "application/json"}
    )
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        opener = urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=context))
        with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            untrusted = answer.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        raise PortalRefused(_sentence(error)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PortalRefused(f"the portal cannot be asked: {error}") from None
    return _object(untrusted)


def _object(untrusted: bytes) -> dict[str, Any]:
    try:
        found = json.loads(untrusted)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise PortalRefused("the answer is not a portal's: is the address right?")
    return found


def _sentence(error: urllib.error.HTTPError) -> str:
    try:
        told = json.loads(error.read(MAX_ANSWER_BYTES))
        return f"the portal says no: {told['detail']}"
    except (ValueError, KeyError, TypeError, RecursionError, OSError):
        return f"the portal answers {error.code}: is {error.url} its address?"
