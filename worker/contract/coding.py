"""Encoding of messages to JSON-compatible values, and strict decoding. Signing is in `envelope`."""

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar

from worker.contract.orders import CancelJob, Order, PortalKeys
from worker.contract.receipts import Receipt
from worker.contract.reports import Report
from worker.contract.seen import Observation
from worker.contract.verbs import ROWS

Message = Order | Report | Observation | PortalKeys | Receipt
OTHERS: tuple[type[Message], ...] = (CancelJob, Report, Observation, PortalKeys, Receipt)
KINDS: dict[str, type[Message]] = {cls.kind: cls for cls in (*(verb.order for verb in ROWS), *OTHERS)}

T = TypeVar("T")


class BadEnvelope(Exception):
    """The envelope must not be accepted; the text says why and holds no secrets."""


class UnreadableMessage(BadEnvelope):
    """The signature is good, and the message is of a kind or has a field that this side does not know."""

    def __init__(self, why: str, untrusted: object) -> None:
        super().__init__(why)
        values = untrusted if isinstance(untrusted, dict) else {}
        machine = values.get("machine")
        #: as in the message; "" if they are missing
        self.job_id = str(values.get("job_id", ""))
        self.machine_id = str(machine.get("id", "")) if isinstance(machine, dict) else ""


def encode(message: Message) -> dict[str, Any]:
    """The message with its kind, as values that JSON can represent."""
    return {"kind": message.kind, **dataclasses.asdict(message)}


def decode(untrusted: object) -> Message:
    """Read a message; unknown fields are ignored. Raises BadEnvelope."""
    if not isinstance(untrusted, dict):
        raise BadEnvelope("the message is not an object")
    cls = KINDS.get(str(untrusted.get("kind")))
    if cls is None:
        raise BadEnvelope("the message is of an unknown kind")
    return read_part(cls, untrusted, cls.__name__)


def read_part(cls: type[T], untrusted: object, where: str) -> T:
    """Read one frozen dataclass, strictly. Raises BadEnvelope."""
    if not isinstance(untrusted, dict):
        raise BadEnvelope(f"{where} is not an object")
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for spec in dataclasses.fields(cls):  # type: ignore[arg-type]
        if spec.name in untrusted:
            values[spec.name] = _value(hints[spec.name], untrusted[spec.name], f"{where}.{spec.name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise BadEnvelope(f"{where}.{spec.name} is missing")
    return cls(**values)


def _value(hint: Any, untrusted: object, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return _one_of(typing.get_args(hint), untrusted, where)
    if origin is tuple:
        if not isinstance(untrusted, list | tuple):
            raise BadEnvelope(f"{where} is not a list")
        inner = typing.get_args(hint)[0]
        return tuple(_value(inner, item, f"{where}[]") for item in untrusted)
    if origin is dict:
        return _mapping(typing.get_args(hint)[1], untrusted, where)
    if origin is types.UnionType:
        options = [arg for arg in typing.get_args(hint) if arg is not types.NoneType]
        return None if untrusted is None else _value(options[0], untrusted, where)
    if dataclasses.is_dataclass(hint):
        return read_part(typing.cast("type[Any]", hint), untrusted, where)
    return _scalar(hint, untrusted, where)


def _one_of(allowed: tuple[Any, ...], untrusted: object, where: str) -> Any:
    if not isinstance(untrusted, str) or untrusted not in allowed:
        raise BadEnvelope(f"{where} is none of {', '.join(map(str, allowed))}")
    return untrusted


def _mapping(inner: Any, untrusted: object, where: str) -> dict[str, Any]:
    if inner is Any:
        # judged by who shows it: an end must not be lost for the sake of its words
        return untrusted if isinstance(untrusted, dict) else {}
    return _texts(untrusted, where)


def _texts(untrusted: object, where: str) -> dict[str, str]:
    if not isinstance(untrusted, dict):
        raise BadEnvelope(f"{where} is not an object")
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in untrusted.items()):
        raise BadEnvelope(f"{where} holds something other than text")
    return dict(untrusted)


def _scalar(hint: Any, untrusted: object, where: str) -> Any:
    # bool is an int in Python: memory_mib=true must not pass for 1
    if hint is float and isinstance(untrusted, int | float) and not isinstance(untrusted, bool):
        try:
            return float(untrusted)
        except OverflowError:
            raise BadEnvelope(f"{where} is too large") from None
    if hint in (int, str, bool) and type(untrusted) is hint:
        return untrusted
    raise BadEnvelope(f"{where} is not of type {getattr(hint, '__name__', hint)}")
