"""Names of machines: validation, and the name of the Xen domain. Pure."""

import re
from uuid import UUID

from webxen.core.errors import InvalidError, UserError
from webxen.core.messages import Message

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
#: names with a special meaning for xl and Xen
RESERVED = frozenset({"domain-0", "xen", "dom0", "localhost"})
MAX_NAME = 63


def check_name(untrusted: object) -> str:
    """Return the name. Raises InvalidError with the rule that it breaks."""
    if why := what_is_wrong(untrusted):
        raise InvalidError(why, fields={"name": [why]})
    return str(untrusted)


class NameTakenError(UserError):
    """Another machine of the project, or a pending request, has this name."""

    code = "NAME_TAKEN"

    def __init__(self, message: str) -> None:
        super().__init__(message, fields={"name": [message]})


def taken(*, name: str, project: str, is_requested: bool = False) -> str:
    """Return the message of NameTakenError."""
    if is_requested:
        return Message("NAME_TAKEN_BY_REQUEST", name=name, project=project)
    return Message("NAME_TAKEN_IN_PROJECT", project=project, name=name)


def what_is_wrong(untrusted: object) -> str:
    """Return the rule that the name breaks, or ""."""
    if not isinstance(untrusted, str):
        return Message("NAME_NOT_TEXT")
    rules = (
        (not 1 <= len(untrusted) <= MAX_NAME, Message("NAME_LENGTH", max_length=MAX_NAME)),
        (
            not NAME.fullmatch(untrusted),
            Message("NAME_CHARACTERS"),
        ),
        # xl would interpret it as a domain id
        (untrusted.isdigit(), Message("NAME_IS_NUMBER")),
        # Xen names a migrating domain NAME--incoming and NAME--migratedaway
        ("--" in untrusted, Message("NAME_DOUBLE_HYPHEN")),
        (untrusted in RESERVED, Message("NAME_RESERVED", name=untrusted)),
    )
    return next((why for is_broken, why in rules if is_broken), "")


def domain_name(*, name: str, id: UUID) -> str:
    """Return the Xen domain's name: readable, and unique to this machine."""
    # the dom0 accepts no name that starts with a digit: xl would interpret some as a domain id
    start = f"m-{name}" if name[:1].isdigit() else name
    return f"{start[:40].rstrip('-')}-{id.hex[:8]}"
