"""Strict JSON parser: refuses what two programs might read differently.

Converts bytes to Python values; serializers validate them.
"""

import json
import math
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from rest_framework.parsers import BaseParser

from webxen.core.errors import UserError
from webxen.core.messages import Message

MAX_DEPTH = 16
#: maximum number of keys of one object, and of values of the whole document
MAX_KEYS, MAX_VALUES = 200, 20_000
#: maximum number of characters of a key in an error message
MAX_SHOWN = 80


class MalformedError(UserError):
    """The body is not acceptable JSON."""

    code = "MALFORMED"
    status = 400


class StrictJSON(BaseParser):
    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        # ApiView has read the body into memory, and Django has checked its size
        return read_json(stream.read())


def read_json(raw: bytes) -> Any:
    """Parse JSON; refuse duplicate keys, NaN and infinities, lone surrogates and deep nesting.

    Raises MalformedError.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
        )
    except UnicodeDecodeError:
        raise MalformedError(Message("BODY_NOT_UTF8")) from None
    except RecursionError:
        raise MalformedError(Message("JSON_TOO_DEEP", limit=MAX_DEPTH)) from None
    except json.JSONDecodeError as error:
        raise MalformedError(
            Message("JSON_SYNTAX", error=error.msg, line=error.lineno, column=error.colno)
        ) from None
    except ValueError:
        # Python refuses to convert an integer of thousands of digits
        raise MalformedError(Message("JSON_NUMBER_TOO_LONG")) from None
    _look_through(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise MalformedError(Message("JSON_KEY_TWICE", key=ascii(name[:MAX_SHOWN])))
        if len(found) >= MAX_KEYS:
            raise MalformedError(Message("JSON_TOO_MANY_KEYS", limit=MAX_KEYS))
        found[name] = value
    return found


def _constant(name: str) -> NoReturn:
    raise MalformedError(Message("JSON_CONSTANT", name=name))


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MalformedError(Message("JSON_NUMBER_TOO_LARGE"))
    return number


def _look_through(value: Any) -> None:
    """Check all values without recursion, because the client chooses the depth."""
    waiting, seen = [(value, 1)], 0
    while waiting:
        item, depth = waiting.pop()
        seen += 1
        if seen > MAX_VALUES:
            raise MalformedError(Message("JSON_TOO_MANY_VALUES", limit=MAX_VALUES))
        if isinstance(item, str):
            _check_text(item)
            continue
        if not isinstance(item, dict | list):
            continue
        if depth > MAX_DEPTH:
            raise MalformedError(Message("JSON_TOO_DEEP", limit=MAX_DEPTH))
        inside = [*item.keys(), *item.values()] if isinstance(item, dict) else item
        waiting.extend((inner, depth + 1) for inner in inside)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # "\ud800" alone is valid JSON but not valid Unicode: it can be neither stored nor sent
        raise MalformedError(Message("JSON_LONE_SURROGATE")) from None
