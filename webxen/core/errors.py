"""UserError: a refusal whose sentence may be shown to the person who asked."""

from collections.abc import Mapping
from typing import Any, ClassVar


class UserError(Exception):
    """A foreseen refusal. `str(error)` is one clear sentence that names the cure.

    `code` is stable and listed in docs/errors.md; `status` is the HTTP status; `fields` maps a
    field name to its own sentences; `members` are facts for programs (RFC 9457 extension members),
    plain JSON values. `retry_after_seconds`: what is answered as Retry-After, if anything.
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
    """Not there, or not yours: the same answer for both."""

    code = "NOT_FOUND"
    status = 404

    def __init__(self, message: str = "There is no such thing, or it is not yours.") -> None:
        super().__init__(message)


class InvalidError(UserError):
    """What was sent breaks a rule; `fields` says which and how to mend it."""

    code = "INVALID"
    status = 400


class ForbiddenError(UserError):
    """Allowed to see it, not to do this."""

    code = "FORBIDDEN"
    status = 403
