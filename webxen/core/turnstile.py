"""A turnstile before Django: so many writing requests are inside at once, the others wait in their order.

Without it a thousand clicks at one moment become a thousand threads that fight for one database: SQLite's
patience ends ("database is locked") and PostgreSQL's connections run out, and people read 500. Waiting
costs a few bytes each. Reads go past it: some of them are held open on purpose. No rule of the domain
lives here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Asgi = Callable[[Any, Any, Any], Awaitable[Any]]
READS = frozenset({"GET", "HEAD", "OPTIONS"})


def with_turnstile(inside: Asgi, *, writers: int) -> Asgi:
    """`inside`, entered by at most so many requests that write."""
    turnstile = asyncio.Semaphore(writers)

    async def enter(scope: Any, receive: Any, send: Any) -> Any:
        if scope.get("method") in READS:
            return await inside(scope, receive, send)
        async with turnstile:
            return await inside(scope, receive, send)

    return enter
