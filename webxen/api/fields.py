"""Serializer fields for strict JSON: types are not converted ("1" and true are no numbers, 1 is no text).

Also fields of answers: unknown or absent values are null, and extensible values are not a closed list.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from rest_framework import serializers


class StrictText(serializers.CharField):
    """A JSON string; numbers are not converted. The base class refuses NUL."""

    default_error_messages = {"invalid": "Send text."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictFlag(serializers.BooleanField):
    """A JSON boolean; other values are not converted."""

    default_error_messages = {"invalid": "Send true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return bool(data)


class StrictNumber(serializers.IntegerField):
    """A JSON integer; neither "1" nor 1.0 nor true is accepted."""

    default_error_messages = {"invalid": "Send a whole number."}

    def to_internal_value(self, data: Any) -> int:
        # type(), not isinstance(): True is an int in Python
        if type(data) is not int:
            self.fail("invalid")
        return int(super().to_internal_value(data))


class StrictUuid(serializers.UUIDField):
    """A UUID as a string; the base class would also accept integers and true."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class TextOrNone(serializers.CharField):
    """Text of an answer; null if it is empty."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)

    def to_representation(self, value: Any) -> str | None:  # type: ignore[override]
        return super().to_representation(value) or None


class NumberOrNone(serializers.IntegerField):
    """A non-negative number of an answer; null if it is not known, stored as -1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)

    def to_representation(self, value: Any) -> int | None:  # type: ignore[override]
        return None if value < 0 else int(super().to_representation(value))


class SecondsOrNone(serializers.FloatField):
    """Seconds; null if not known, stored as -1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)

    def to_representation(self, value: Any) -> float | None:  # type: ignore[override]
        return None if value < 0 else float(super().to_representation(value))


def open_list(known: Iterable[str], about: str = "") -> str:
    """Return the description of a text field whose values may grow, so that clients accept unknown ones."""
    values = ", ".join(f"`{value}`" for value in known)
    return f"{about} Known values: {values}. More may be added.".strip()
