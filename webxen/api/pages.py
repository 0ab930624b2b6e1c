"""Cursor pagination: {"next", "previous", "results"}. Cursors are signed, so that they cannot be forged."""

from typing import Any

from django.core import signing
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from webxen.core.errors import InvalidError
from webxen.core.messages import Message

SALT = "webxen.api.pages"


class Pages(CursorPagination):
    request: Request
    base_url: str
    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"

    def decode_cursor(self, request: Request) -> Any:
        untrusted_token = request.query_params.get(self.cursor_query_param)
        if untrusted_token is None:
            return None
        try:
            offset, reverse, position = signing.loads(untrusted_token, salt=f"{SALT}{request.path}")
        except signing.BadSignature:
            message = Message("CURSOR_FROM_ELSEWHERE")
            raise InvalidError(Message("CURSOR_INVALID"), fields={"cursor": [message]}) from None
        return Cursor(offset=offset, reverse=reverse, position=position)

    def encode_cursor(self, cursor: Any) -> str:
        where = [cursor.offset, cursor.reverse, cursor.position]
        token = signing.dumps(where, salt=f"{SALT}{self.request.path}")
        return replace_query_param(self.base_url, self.cursor_query_param, token)
