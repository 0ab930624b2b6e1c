"""Validate a request for higher limits. Stores nothing.

It names complete limits. None may be below the present one, at least one must be above.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.approvals.models import QuotaRequest
from webxen.core.errors import InvalidError
from webxen.core.messages import Message
from webxen.quotas import queries as quotas
from webxen.quotas.shortage import Figures, Headroom, RunningLimit, describe_whole

#: highest limit that can be requested; a higher value is a typing error
HIGHEST = {
    "machines": 10_000,
    "vcpus": 100_000,
    "memory_mib": 1 << 28,
    "disk_gib": 10_000_000,
    "running_vcpus": 100_000,
    "running_memory_mib": 1 << 28,
}
#: limited only where staff has set a limit
OPTIONAL = ("running_vcpus", "running_memory_mib")
MAX_REASON = 2000


@dataclass(frozen=True)
class MoreWish:
    """Validated new limits for a project; None: unchanged."""

    project: Project
    reason: str
    machines: int
    vcpus: int
    memory_mib: int
    disk_gib: int
    running_vcpus: int | None = None
    running_memory_mib: int | None = None


def parse(*, untrusted: Mapping[str, object], user: User, project: Project | None = None) -> MoreWish:
    """Validate a request. Raises InvalidError with every wrong field.

    `project`: that of an existing request which is being changed.
    """
    names = set(HIGHEST) | {"reason"} | (set() if project else {"project"})
    wrong: dict[str, list[str]] = {
        str(name): [Message("NO_SUCH_FIELD")] for name in sorted(set(untrusted) - names, key=str)
    }
    project = project or _read_project(untrusted.get("project"), user, wrong)
    reason = _read_reason(untrusted.get("reason"), wrong)
    room = None if project is None else quotas.headroom(project=project)
    now = {} if room is None else limits_of(room)
    figures = {name: _read_limit(name, untrusted.get(name), now.get(name), wrong) for name in HIGHEST}
    if room is not None and not wrong and not _is_more(figures, now):
        wrong["non_field_errors"] = [Message("LIMIT_NOT_HIGHER")]
    if wrong or project is None:
        raise InvalidError(Message("REQUEST_INVALID"), fields=wrong)
    return MoreWish(project=project, reason=reason, **figures)  # type: ignore[arg-type]


def limits_of(room: Headroom) -> dict[str, int | None]:
    """Return a project's limits by the field names of a request."""
    return {
        "machines": room.limit.machines,
        "vcpus": room.limit.vcpus,
        "memory_mib": room.limit.memory_mib,
        "disk_gib": room.limit.disk_gib,
        "running_vcpus": room.running_limit.vcpus,
        "running_memory_mib": room.running_limit.memory_mib,
    }


def _is_more(figures: Mapping[str, int | None], now: Mapping[str, int | None]) -> bool:
    return any(asked is not None and asked > (now[name] or 0) for name, asked in figures.items())


def _read_project(untrusted: object, user: User, wrong: dict[str, list[str]]) -> Project | None:
    mine = accounts.projects_of(user=user)
    found: Project | None = None
    if untrusted is None or untrusted == "":
        rows = list(mine[:2])
        found = rows[0] if len(rows) == 1 else None
    elif isinstance(untrusted, str | UUID) and len(str(untrusted)) <= 80 and "\0" not in str(untrusted):
        try:
            found = mine.filter(id=UUID(str(untrusted))).first()
        except ValueError:
            found = mine.filter(slug=untrusted).first()
    if found is None:
        wrong["project"] = [Message("PROJECT_NOT_YOURS")]
    return found


def _read_reason(untrusted: object, wrong: dict[str, list[str]]) -> str:
    reason = untrusted.strip() if isinstance(untrusted, str) else ""
    if not reason or len(reason) > MAX_REASON or "\0" in reason:
        wrong["reason"] = [Message("PURPOSE_NEEDED", max_length=MAX_REASON)]
    return reason


def _read_limit(name: str, untrusted: object, now: int | None, wrong: dict[str, list[str]]) -> int | None:
    """An omitted limit stays as it is. A project without a separate running limit cannot request one."""
    if untrusted is None:
        return None if name in OPTIONAL else now or 0
    # type(), not isinstance(): True is an int in Python and must not be accepted as 1
    if type(untrusted) is not int or not 0 <= untrusted <= HIGHEST[name]:
        wrong[name] = [Message("NUMBER_RANGE", min=0, max=HIGHEST[name])]
        return 0
    if name in OPTIONAL and now is None:
        wrong[name] = [Message("NO_SEPARATE_LIMIT")]
    elif untrusted < (now or 0):
        wrong[name] = [Message("LIMIT_BELOW_CURRENT", current=now)]
    return untrusted


def figures_of(request: QuotaRequest) -> dict[str, int | None]:
    """Return the requested limits, by resource."""
    return {name: getattr(request, name) for name in HIGHEST}


def describe(request: QuotaRequest) -> str:
    """Return the requested limits in one line, for the audit."""
    return describe_whole(
        Figures(request.machines, request.vcpus, request.memory_mib, request.disk_gib),
        RunningLimit(request.running_vcpus, request.running_memory_mib),
    )
