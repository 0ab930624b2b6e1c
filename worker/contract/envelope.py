"""The signed envelope. It contains no cryptography: the caller passes the signing functions."""

import base64
import binascii
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from worker.contract.coding import BadEnvelope, Message, UnreadableMessage, decode, encode
from worker.contract.receipts import Receipt

PROTOCOL_VERSION = 1

#: Size in bytes above which an envelope is dropped unread.
MAX_ENVELOPE_BYTES = 1 << 20
#: most characters of an encoded receipt; that of a machine with one disk and one card has some 1500
MAX_RECEIPT = 8192
#: an expiry beyond the age of any backup: a receipt does not expire
NEVER = 1 << 40


class OtherVersion(BadEnvelope):
    """The envelope is authentic and has another version of this protocol."""

    def __init__(self, host: str, untrusted_version: object) -> None:
        super().__init__(f"{host}: protocol version {untrusted_version!r} is not {PROTOCOL_VERSION}")
        self.host = host
        #: the sender's version; 0 if it is not an integer
        self.version = untrusted_version if type(untrusted_version) is int else 0


@dataclass(frozen=True)
class Opened:
    message: Message
    host: str
    nonce: str


def seal(
    message: Message, *, host: str, sign: Callable[[bytes], bytes], not_after: int, nonce: str = ""
) -> str:
    """Sign a message and put it into an envelope. Returns the envelope as text.

    `host` is the host an order is for, or the one that reports; `not_after` is Unix time in seconds.
    Everything that is trusted is inside the signed part: Celery's own headers (task name, id, eta) are not
    signed and not trusted.
    """
    inner = json.dumps(
        {
            "v": PROTOCOL_VERSION,
            "host": host,
            "nonce": nonce or secrets.token_hex(16),
            "not_after": not_after,
            "message": encode(message),
        },
        separators=(",", ":"),
    )
    signature = base64.b64encode(sign(inner.encode())).decode()
    return json.dumps({"signed": inner, "signature": signature})


def open_envelope(
    untrusted: object, *, host: str | None, verify: Callable[[str, bytes, bytes], bool], now: int
) -> Opened:
    """Verify an envelope and decode its message. Raises BadEnvelope only.

    Its subclass UnreadableMessage means that the envelope is authentic and its message cannot be decoded.

    `verify(host, signed, signature)` returns whether the signature is valid. With `host` given, the envelope
    must be for this host; with None, any host that `verify` knows is accepted. `now` is Unix time in seconds.
    """
    signed, signature = _split(untrusted)
    try:
        inner = json.loads(signed)
    except (ValueError, RecursionError):
        raise BadEnvelope("the signed part is not JSON") from None
    if not isinstance(inner, dict) or not isinstance(inner.get("host"), str):
        raise BadEnvelope("the signed part names no host")
    if host is not None and inner["host"] != host:
        raise BadEnvelope("the envelope is for another host")
    if not verify(inner["host"], signed.encode(), signature):
        raise BadEnvelope("the signature is not good")
    if type(inner.get("not_after")) is not int or inner["not_after"] < now:
        raise BadEnvelope("the envelope has expired")
    if inner.get("v") != PROTOCOL_VERSION:
        raise OtherVersion(inner["host"], inner.get("v"))
    try:
        message = decode(inner.get("message"))
    except BadEnvelope as error:
        raise UnreadableMessage(str(error), inner.get("message")) from None
    return Opened(message, inner["host"], str(inner.get("nonce")))


def _split(untrusted: object) -> tuple[str, bytes]:
    if not isinstance(untrusted, str) or len(untrusted) > MAX_ENVELOPE_BYTES:
        raise BadEnvelope("the envelope is not text of a sensible size")
    try:
        outer = json.loads(untrusted)
        signature = base64.b64decode(outer["signature"], validate=True)
        signed = outer["signed"]
        signed.encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadEnvelope("the envelope is not readable") from None
    if not isinstance(signed, str):
        raise BadEnvelope("the envelope is not readable")
    return signed, signature


# --- receipts ------------------------------------------------------------------------------------


def seal_receipt(receipt: Receipt, *, host: str, sign: Callable[[bytes], bytes]) -> str:
    """The receipt as text for this host: base64 of an envelope, so that nested JSON does not grow."""
    # the same receipt always gives the same text: nothing can be replayed with it, so the nonce may be
    # constant
    envelope = seal(receipt, host=host, sign=sign, not_after=NEVER, nonce="receipt")
    return base64.b64encode(envelope.encode()).decode()


def read_receipt(untrusted: str) -> tuple[str, Receipt]:
    """The host and content of a receipt; no signature is checked. Raises BadEnvelope."""
    opened = open_envelope(_envelope(untrusted), host=None, verify=lambda *_: True, now=0)
    return opened.host, _receipt(opened.message)


def open_receipt(untrusted: str, *, host: str, verify: Callable[[str, bytes, bytes], bool]) -> Receipt:
    """The content of a receipt for this host, if its signature is valid. Raises BadEnvelope."""
    return _receipt(open_envelope(_envelope(untrusted), host=host, verify=verify, now=0).message)


def _envelope(untrusted: str) -> str:
    if len(untrusted) > MAX_RECEIPT:
        raise BadEnvelope("the receipt is too long")
    try:
        return base64.b64decode(untrusted, validate=True).decode()
    except (binascii.Error, ValueError):
        raise BadEnvelope("the receipt is not readable") from None


def _receipt(message: object) -> Receipt:
    if not isinstance(message, Receipt):
        raise BadEnvelope("the envelope holds no receipt")
    return message
