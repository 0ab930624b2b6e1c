"""Django's door for ASGI, with the whole of a request on one thread.

Every view and middleware here is synchronous. Left to itself, Django runs the middleware that could be
asynchronous on the event loop and hops to a thread and back around each of them: some twenty hops a request,
which cost as much as half of what the request does. Sockets do not come through here.
"""

from typing import Any

import django
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler


class OneThread(ASGIHandler):
    """An ASGIHandler that enters its chain of middleware once, and stays in."""

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's own signature
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: Any) -> Any:
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)


def get_application() -> OneThread:
    """What django.core.asgi.get_asgi_application gives, of this kind."""
    django.setup(set_prefix=False)
    return OneThread()
