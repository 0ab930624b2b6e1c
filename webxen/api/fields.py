"""Fields that take what JSON says and convert nothing: 1 is no text, "1" and true are no numbers.

And fields of answers: what is unknown or not there is null, and values that grow are not a closed list.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from rest_framework import serializers


class StrictText(serializers.CharField):
    """Text of JSON; a number is not turned into text. NUL is refused by the field it builds on."""

    default_error_messages = {"invalid": "Send text."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictFlag(serializers.BooleanField):
    """true or false, and nothing that looks like it."""

    default_error_messages = {"invalid": "Send true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return bool(data)


class StrictNumber(serializers.IntegerField):
    """A whole number of JSON; neither "1" nor 1.0 nor true is one."""

    default_error_messages = {"invalid": "Send a whole number."}

    def to_internal_value(self, data: Any) -> int:
        # type(), not isinstance(): true is an int in Python
        if type(data) is not int:
            self.fail("invalid")
        return int(super().to_internal_value(data))


class StrictUuid(serializers.UUIDField):
    """A UUID as text: 1 and true, which the field it builds on takes for one, are refused."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class TextOrNone(serializers.CharField):
    """Text of an answer; null where there is none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)

    def to_representation(self, value: Any) -> str | None:  # type: ignore[override]
        return super().to_representation(value) or None


class NumberOrNone(serializers.IntegerField):
    """A number of an answer that is never negative; null where it is not known, which rows keep as -1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)

    def to_representation(self, value: Any) -> int | None:  # type: ignore[override]
        return None if value < 0 else int(super().to_representation(value))


class SecondsOrNone(serializers.FloatField):
    """Seconds; null where they are not known, which rows keep as -1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)

    def to_representation(self, value: Any) -> float | None:  # type: ignore[override]
        return None if value < 0 else float(super().to_representation(value))


def open_list(known: Iterable[str], about: str = "") -> str:
    """The description of a text whose values grow: a client accepts those that it does not know."""
    values = ", ".join(f"`{value}`" for value in known)
    return f"{about} Known values: {values}. More may be added.".strip()
