"""Names of machines: what people may type, and what xl calls the machine. Pure."""

import re
from uuid import UUID

from webxen.core.errors import InvalidError, UserError

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
#: xl and Xen give these a meaning of their own
RESERVED = frozenset({"domain-0", "xen", "dom0", "localhost"})
MAX_NAME = 63


def check_name(untrusted: object) -> str:
    """Give the name back, or raise InvalidError that names the rule it breaks."""
    if why := what_is_wrong(untrusted):
        raise InvalidError(why, fields={"name": [why]})
    return str(untrusted)


class NameTakenError(UserError):
    """Another machine of the project has this name, or a request that waits asks for it."""

    code = "NAME_TAKEN"

    def __init__(self, message: str) -> None:
        super().__init__(message, fields={"name": [message]})


def taken(*, name: str, project: str, is_requested: bool = False) -> str:
    """The sentence of NameTakenError."""
    if is_requested:
        return f"A request for a machine named {name} is already pending in {project}. Choose another name."
    return f"{project} already has a machine named {name}. Choose another name."


def what_is_wrong(untrusted: object) -> str:
    """Say which rule the name breaks, or nothing."""
    if not isinstance(untrusted, str):
        return "The name must be text."
    rules = (
        (not 1 <= len(untrusted) <= MAX_NAME, f"The name must have 1 to {MAX_NAME} characters."),
        (
            not NAME.fullmatch(untrusted),
            "The name may hold only a-z, 0-9 and hyphens, and starts and ends with a letter or digit.",
        ),
        # xl would take it for the number of a domain
        (untrusted.isdigit(), "The name must not be a number."),
        # Xen names a domain on the move NAME--incoming and NAME--migratedaway
        ("--" in untrusted, "The name must not hold two hyphens in a row."),
        (untrusted in RESERVED, f"The name {untrusted} is reserved by Xen."),
    )
    return next((why for is_broken, why in rules if is_broken), "")


def domain_name(*, name: str, id: UUID) -> str:
    """What xl calls the machine: readable, and never used by another machine."""
    # the dom0 takes no name that starts with a digit: xl would read some as a domain's number
    start = f"m-{name}" if name[:1].isdigit() else name
    return f"{start[:40].rstrip('-')}-{id.hex[:8]}"
