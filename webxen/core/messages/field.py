"""MessageField: a message in a text column. Rows of earlier versions hold a sentence, shown as it is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import models

from webxen.core.messages.message import Message

if TYPE_CHECKING:
    TextField = models.TextField[Any, Any]
else:
    TextField = models.TextField


class MessageField(TextField):
    """Keeps a `Message` as JSON, and text without a code as it is; always reads a `Message`."""

    def from_db_value(self, value: str | None, _expression: Any, _connection: Any) -> Message | None:
        return None if value is None else Message.load(value)

    def get_prep_value(self, value: Any) -> Any:
        return value.dump() if isinstance(value, Message) else super().get_prep_value(value)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """For migrations it is the text column it always was."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.TextField", args, kwargs
