"""The events WebSocket: notifies an open page of changes of objects its user may see.

Sends only kinds and ids; the page then fetches what its user may see.
"""

import asyncio
import json
import logging
from collections import Counter
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError

from webxen.accounts import sessions
from webxen.core import events, origin

log = logging.getLogger(__name__)

#: interval of checks whether the user is still signed in
RIGHTS_SECONDS = 20
RIGHTS_GONE = 4403
TOO_MANY = 4429


class EventsConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """The socket of one page."""

    #: open sockets of this process by user
    open_ones: ClassVar[Counter[int]] = Counter()
    counted_for: int | None = None
    groups_joined: tuple[str, ...] = ()
    watch: "asyncio.Task[None] | None" = None

    async def __call__(self, *args: Any) -> None:
        try:
            await super().__call__(*args)
        finally:  # however it ends
            if self.counted_for is not None:
                self.open_ones[self.counted_for] -= 1
                if not self.open_ones[self.counted_for]:
                    del self.open_ones[self.counted_for]

    async def connect(self) -> None:
        user = self.scope.get("user")
        if user is None or not user.is_authenticated or not self._is_own_page():
            await self.close()  # before accept: the server answers 403
            return
        if self.open_ones[user.pk] >= settings.WEBXEN_EVENT_SOCKETS:
            await self.accept()  # a close before accept would not transmit the code
            await self.close(code=TOO_MANY)
            return
        self.counted_for = user.pk
        self.open_ones[user.pk] += 1
        self.groups_joined = (
            events.user_group(user.pk),
            *((events.STAFF_GROUP,) if user.is_staff else ()),
        )
        for group in self.groups_joined:
            await self.channel_layer.group_add(group, self.channel_name)
        await self.accept()
        self.watch = asyncio.create_task(self._watch())

    async def disconnect(self, code: int) -> None:
        if self.watch is not None:
            self.watch.cancel()
        for group in self.groups_joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Pages do not send anything: close the socket."""
        await self.close(code=4400)

    async def changed(self, message: dict[str, Any]) -> None:
        """Forward a message of `core.events.publish`."""
        said = {"type": message["kind"], "id": message["id"]}
        if message.get("machine"):
            said["machine"] = message["machine"]
        await self.send(text_data=json.dumps(said))

    def _is_own_page(self) -> bool:
        headers = self.scope.get("headers", [])
        fault = origin.find_fault(
            headers,
            is_secure=settings.HTTPS or self.scope.get("scheme") == "wss",
            allowed_hosts=settings.ALLOWED_HOSTS,
            trusted=settings.CSRF_TRUSTED_ORIGINS,
        )
        if not fault and not origin.header(headers, b"origin"):
            fault = "it names no origin, which a browser always does"
        if fault:
            log.warning("an events socket was refused: %s", fault)
        return not fault

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(RIGHTS_SECONDS)
            try:
                is_signed_in = await database_sync_to_async(self._is_still_signed_in)()
            except DatabaseError as error:
                log.warning("not known whether the person is still signed in: %s", error)
                continue
            if not is_signed_in:
                await self.close(code=RIGHTS_GONE)
                return

    def _is_still_signed_in(self) -> bool:
        """Also False if the password was changed, or the user became staff or stopped being staff."""
        person = sessions.person_of(session_key=self.scope["session"].session_key)
        if person is None or person.pk != self.scope["user"].pk:
            return False
        return (events.STAFF_GROUP in self.groups_joined) == person.is_staff
