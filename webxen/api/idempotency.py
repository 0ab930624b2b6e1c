"""Idempotency-Key: a repeated request is carried out once and gets the same answer again.

The key, the change and the answer are stored in one transaction. A refusal rolls all of them back, so that
the key can be used again once the cause is fixed.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable

from cryptography.fernet import Fernet
from django.conf import settings
from django.db import transaction
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.accounts.models import User
from webxen.api.models import IdempotencyKey
from webxen.core import clock
from webxen.core.errors import InvalidError, UserError
from webxen.core.messages import Message

HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,255}")
ENDURING_HEADERS = ("Location",)


class KeyReusedError(UserError):
    """The key was already used for another request."""

    code = "IDEMPOTENCY_KEY_REUSED"
    status = 422


def answer_once(
    request: Request, user: User, untrusted_key: str, perform: Callable[[], Response]
) -> Response:
    """Perform the request, or return the answer of the first one with this key.

    Raises InvalidError, KeyReusedError, and what `perform` raises.
    """
    if not KEY.fullmatch(untrusted_key):
        raise InvalidError(Message("KEY_FORMAT", header=HEADER))
    key = untrusted_key
    with transaction.atomic():
        row, is_new = IdempotencyKey.claim(
            user=user,
            key_hash=_digest("hash", key),
            fingerprint=_fingerprint(request),
            now=clock.now(),
        )
        if not is_new:
            return _repeat(row, request, key)
        response = perform()
        row.keep(_seal(response, key))
        return response


def _repeat(row: IdempotencyKey, request: Request, key: str) -> Response:
    if not hmac.compare_digest(row.fingerprint, _fingerprint(request)):
        raise KeyReusedError(Message("KEY_REUSED", header=HEADER))
    kept = json.loads(_cipher(key).decrypt(row.sealed_answer.encode()))
    headers = {**kept["headers"], "Idempotency-Replayed": "true"}
    return Response(kept["data"], status=kept["status"], headers=headers)


def _seal(response: Response, key: str) -> str:
    kept = {
        "status": response.status_code,
        # as text, so that the repeated answer has the same encoding of times and ids
        "data": json.loads(_encoded(response)),
        "headers": {name: response[name] for name in ENDURING_HEADERS if name in response},
    }
    return _cipher(key).encrypt(json.dumps(kept).encode()).decode()


def _encoded(response: Response) -> bytes:
    return bytes(JSONRenderer().render(response.data) or b"null")


def _fingerprint(request: Request) -> str:
    parts = (request.method or "", request.get_full_path(), request.body)
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


def _digest(purpose: str, key: str) -> str:
    secret = f"webxen.idempotency.{purpose}.{settings.SECRET_KEY}".encode()
    return hmac.new(secret, key.encode(), hashlib.sha256).hexdigest()


def _cipher(key: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(bytes.fromhex(_digest("seal", key))))
