"""ASGI entry point: HTTP to Django, WebSockets to their consumers."""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webxen.settings")

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import re_path
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

# Django must be set up before modules with models are imported.
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402

from webxen.core import checks, connections, logs  # noqa: E402
from webxen.jobs.checks import log_portal_key  # noqa: E402

logs.install()
checks.refuse_open_broker()
log_portal_key()
connections.raise_descriptor_limit()

from webxen.api import problems  # noqa: E402
from webxen.console.routing import websocket_urlpatterns as console_patterns  # noqa: E402
from webxen.core.errors import UserError  # noqa: E402
from webxen.core.held_reads import HeldReads, with_held_reads  # noqa: E402
from webxen.core.one_thread import OneThread  # noqa: E402
from webxen.core.request_bodies import Bodies, with_bodies  # noqa: E402
from webxen.core.request_heads import with_heads_checked  # noqa: E402
from webxen.core.request_ids import with_request_id  # noqa: E402
from webxen.core.request_queue import with_request_queue  # noqa: E402
from webxen.web import error_pages  # noqa: E402
from webxen.web.routing import websocket_urlpatterns as web_patterns  # noqa: E402


def render(scope: Any, error: UserError) -> tuple[str, bytes]:
    """Render a refusal: a problem document for the API, a page otherwise."""
    is_api = scope["path"].startswith("/api/")
    return problems.as_bytes(error) if is_api else error_pages.as_bytes(error)


async def nowhere(_scope: Any, receive: Any, send: Any) -> Any:
    """Refuse a WebSocket at an unknown URL: closed before it is accepted, which is a 403."""
    await receive()
    await send({"type": "websocket.close"})


sockets = URLRouter([*console_patterns, *web_patterns, re_path("", nowhere)])
http = with_request_queue(
    OneThread(writers=settings.WEBXEN_WRITER_THREADS, readers=settings.WEBXEN_READER_THREADS),
    writers=settings.WEBXEN_WRITER_THREADS,
    readers=settings.WEBXEN_READER_THREADS,
    session_cookie=settings.SESSION_COOKIE_NAME,
    render=render,
)
http = with_held_reads(
    http,
    held=HeldReads(most=settings.WEBXEN_HELD_READS, most_per_person=settings.WEBXEN_HELD_READS_PER_PERSON),
    session_cookie=settings.SESSION_COOKIE_NAME,
    render=render,
)
# The body is read before the request enters any queue.
http = with_bodies(
    http,
    bodies=Bodies(
        most_bytes=settings.WEBXEN_BODY_BYTES,
        most_bytes_of_strangers=settings.WEBXEN_ANONYMOUS_BODY_BYTES,
        seconds=settings.WEBXEN_BODY_SECONDS,
        session_cookie=settings.SESSION_COOKIE_NAME,
    ),
    render=render,
)
routes = with_heads_checked(ProtocolTypeRouter({"http": http, "websocket": sockets}), render=render)
# X-Forwarded-* of other senders is ignored. X-Forwarded-Host is never used: a proxy passes Host on. uvicorn's
# own switch is off (--no-proxy-headers), because it trusts every sender on this machine.
application = ProxyHeadersMiddleware(with_request_id(routes), trusted_hosts=settings.WEBXEN_TRUSTED_PROXIES)
