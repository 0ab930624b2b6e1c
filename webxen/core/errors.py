"""UserError and its common subclasses: errors whose message may be shown to the user."""

from collections.abc import Mapping
from typing import Any, ClassVar


class UserError(Exception):
    """An expected refusal. `str(error)` is one sentence that says how to fix the problem.

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
        fields: dict[str, list[str]] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.fields = fields or {}
        self.members = dict(members or {})


class NotFoundError(UserError):
    """The object does not exist or the user may not see it; both give the same answer."""

    code = "NOT_FOUND"
    status = 404

    def __init__(self, message: str = "There is no such thing, or it is not yours.") -> None:
        super().__init__(message)


class InvalidError(UserError):
    """The input breaks a rule; `fields` says which rule and how to fix it."""

    code = "INVALID"
    status = 400


class ForbiddenError(UserError):
    """The user may see the object but may not do this."""

    code = "FORBIDDEN"
    status = 403
