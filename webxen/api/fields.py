"""Fields that take what JSON says and convert nothing: 1 is no text, "1" and true are no numbers."""

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
