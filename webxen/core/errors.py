"""UserError and its common subclasses: errors whose message may be shown to the user."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from webxen.core.messages import Message, as_message


class UserError(Exception):
    """An expected refusal. Its `message` is one sentence that says how to fix the problem; as text, English.

    `code` is stable and listed in docs/errors.md; `status` is the HTTP status; `fields` maps a field name to
    a list of messages; `members` are RFC 9457 extension members, plain JSON values; `retry_after_seconds`
    becomes the Retry-After header unless it is None.
    """

    code: ClassVar[str] = "REFUSED"
    status: ClassVar[int] = 409
    retry_after_seconds: int | None = None

    def __init__(
        self,
        message: str,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = as_message(message)
        self.fields = {name: [as_message(one) for one in told] for name, told in (fields or {}).items()}
        self.members = dict(members or {})


NOT_FOUND = Message("NOT_FOUND")


class NotFoundError(UserError):
    """The object does not exist or the user may not see it; both give the same answer."""

    code = "NOT_FOUND"
    status = 404

    def __init__(self, message: str = NOT_FOUND) -> None:
        super().__init__(message)


class InvalidError(UserError):
    """The input breaks a rule; `fields` says which rule and how to fix it."""

    code = "INVALID"
    status = 400


class ForbiddenError(UserError):
    """The user may see the object but may not do this."""

    code = "FORBIDDEN"
    status = 403
