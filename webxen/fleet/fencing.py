"""Fencing: a silent host is powered off by its fence agent, so that its machines can start elsewhere.

Staff's request is a row; a periodic task claims it, runs the agent in a thread and records the result. The
agent is told `off`, then asked for `status`: only that answer counts, and only for the restart that follows
at once. `failover` starts the machines.
"""

import functools
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from webxen.accounts.models import User
from webxen.core import audit, events, programs
from webxen.core.errors import UserError
from webxen.core.fences import Fence
from webxen.core.messages import Message, tell_all
from webxen.fleet import failover
from webxen.fleet.models import Fencing
from webxen.inventory import queries as hosts
from webxen.inventory import restores
from webxen.inventory.models import Host
from webxen.jobs import rounds

Phase = Fencing.Phase

#: exit codes of agents of ClusterLabs' library: success, and the two answers to `status`
DONE, SAYS_ON, SAYS_OFF = 0, 0, 2
#: 2 is also that library's EC_BAD_ARGS: the output must agree
STATUS = re.compile(r"^\s*status:\s*(.*?)\s*$", re.IGNORECASE | re.MULTILINE)
#: a request that no process claimed for this long is dropped
UNTAKEN = timedelta(seconds=60)
#: added to the time limit of both calls
GRACE = timedelta(seconds=30)
#: maximum characters of an agent's output in the audit
IN_AUDIT = 300


class NoFenceError(UserError):
    """No fence agent is configured for this host."""

    code = "NO_FENCE"


class FencingOpenError(UserError):
    """The host is already being powered off."""

    code = "FENCING_OPEN"


@dataclass(frozen=True)
class Evidence:
    """What an agent did and printed; `why` empty: it reports that the host is off."""

    off_exit: int | None = None
    status_exit: int | None = None
    said: str = ""
    why: str = ""


def fence_of(*, host: Host) -> Fence | None:
    """Return the host's fence agent, or None if none is configured."""
    found: Fence | None = settings.WEBXEN_FENCES.get(host.name)
    return found


def latest(*, user: User, host_id: UUID) -> Fencing | None:
    """Return the host's latest fencing, or None. Raises NotFoundError."""
    host = hosts.get_visible_host(user=user, id=host_id)
    return Fencing.objects.filter(host=host).select_related("host", "asked_by").first()


# --- asking ----------------------------------------------------------------------------------------


@transaction.atomic
def ask(*, user: User, host_id: UUID, now: datetime) -> Fencing:
    """Request that a silent host is powered off and its machines started elsewhere; return the fencing.

    Raises NotFoundError, RestoredError, NoFenceError, HostHeardError, FencingOpenError.
    """
    host = hosts.get_visible_host(user=user, id=host_id)
    restores.refuse_while_held()
    fence = fence_of(host=host)
    if fence is None:
        raise NoFenceError(Message("NO_FENCE_AGENT", host=host.name))
    if not hosts.is_silent(host=host, now=now):
        raise failover.HostHeardError(_heard(host))
    try:
        with transaction.atomic():
            fencing = Fencing.objects.create(host=host, asked_by=user, agent=fence.agent, created_at=now)
    except IntegrityError:
        raise FencingOpenError(Message("FENCING_OPEN", host=host.name)) from None
    _record(fencing, "FENCING_ASKED", fence.agent, now)
    return fencing


def _heard(host: Host) -> str:
    return Message("HOST_NOT_SILENT", host=host.name)


# --- working ---------------------------------------------------------------------------------------


def claim(*, now: datetime) -> list[Fencing]:
    """Claim the requests that this process will carry out, and end abandoned ones."""
    _end_abandoned(now)
    if restores.is_held():
        return []
    claimed: list[Fencing] = []
    asked = Fencing.objects.filter(phase=Phase.ASKED).select_related("host")
    rounds.each("claim fencing", asked, lambda one: _claim_one(one, claimed, now), now=now, about=_id)
    return claimed


def _id(fencing: Fencing) -> str:
    return str(fencing.id)


def _claim_one(fencing: Fencing, claimed: list[Fencing], now: datetime) -> int:
    mine = Fencing.objects.filter(id=fencing.id, phase=Phase.ASKED)
    if not mine.update(phase=Phase.RUNNING, begun_at=now):
        return 0
    fencing.refresh_from_db()
    if hosts.is_silent(host=fencing.host, now=now):
        claimed.append(fencing)
        return 1
    # it reported again after the request: a working host must not be powered off
    conclude(fencing_id=fencing.id, evidence=Evidence(why=_heard(fencing.host)), now=now)
    return 0


def _end_abandoned(now: datetime) -> None:
    longest = 2 * timedelta(seconds=settings.WEBXEN_FENCE_SECONDS) + GRACE
    running = Fencing.objects.filter(phase=Phase.RUNNING, begun_at__lt=now - longest)
    untaken = Fencing.objects.filter(phase=Phase.ASKED, created_at__lt=now - UNTAKEN)
    stopped = Message("FENCE_PORTAL_STOPPED")
    away = Message("FENCE_PROCESS_AWAY")
    for name, found, why in (("end fencing", running, stopped), ("end wish to fence", untaken, away)):
        rounds.each(name, found, functools.partial(_end_one, why, now), now=now, about=_id)


def _end_one(why: str, now: datetime, fencing: Fencing) -> int:
    conclude(fencing_id=fencing.id, evidence=Evidence(why=why), now=now)
    return 1


def use_agent(*, fencing: Fencing) -> Evidence:
    """Tell the agent to power the host off, then ask for its status. Takes as long as the agent does."""
    fence = fence_of(host=fencing.host)
    if fence is None or fence.agent != fencing.agent:
        return Evidence(why=Message("FENCE_AGENT_CHANGED", agent=fencing.agent))
    off, off_said, why = call(fence, "off")
    if not why and off != DONE:
        why = Message("FENCE_OFF_FAILED", agent=fence.agent, exit_code=off)
    if why:
        return Evidence(off, None, off_said, why)
    status, status_said, why = call(fence, "status")
    said = "\n".join(filter(None, (off_said, status_said)))
    return Evidence(off, status, said, why or why_not_off(fence.agent, status, status_said))


def why_not_off(agent: str, status: int | None, said: str) -> str:
    """Return why this answer does not prove that the host is off, or ""."""
    if status == SAYS_ON:
        return Message("FENCE_STILL_ON", agent=agent)
    # all status lines: an agent for two plugs may print one for each
    if status != SAYS_OFF or {word.lower() for word in STATUS.findall(said)} != {"off"}:
        return Message("FENCE_STATUS_UNCLEAR", agent=agent, exit_code=status)
    return ""


def ask_status(*, fence: Fence) -> str:
    """Return "on", "off", or why the status is not known."""
    status, said, why = call(fence, "status")
    if why:
        return why
    not_off = why_not_off(fence.agent, status, said)
    return "off" if not not_off else "on" if status == SAYS_ON else not_off


def call(fence: Fence, action: str) -> tuple[int | None, str, str]:
    """Return the agent's exit code, the end of its output, and why there is no answer ("" if there is
    one).
    """
    try:
        ended = programs.run(
            [str(settings.WEBXEN_FENCE_DIR / fence.agent)],
            input_bytes=fence.lines(action),
            timeout_seconds=settings.WEBXEN_FENCE_SECONDS,
        )
    except FileNotFoundError:
        return None, "", Message("FENCE_AGENT_MISSING", agent=fence.agent)
    except OSError:
        return None, "", Message("FENCE_AGENT_BROKEN", agent=fence.agent)
    said = fence.hide_secrets(_printable(ended.said))
    if ended.exit_code is None:
        return (
            None,
            said,
            Message("FENCE_AGENT_SLOW", agent=fence.agent, limit_seconds=settings.WEBXEN_FENCE_SECONDS),
        )
    return ended.exit_code, said, ""


def _printable(said: str) -> str:
    lines = (
        "".join(letter if letter.isprintable() else " " for letter in line) for line in said.splitlines()
    )
    return "\n".join(line.rstrip() for line in lines if line.strip())


# --- ending ----------------------------------------------------------------------------------------


def conclude(*, fencing_id: UUID, evidence: Evidence, now: datetime) -> None:
    """Record the agent's result; if the host is off, start its machines elsewhere."""
    fencing = _write_down(fencing_id, evidence, now)
    if fencing is None or evidence.why:
        return
    try:
        jobs = failover.restart_fenced(fencing=fencing, now=now)
    except UserError as refused:
        Fencing.objects.filter(id=fencing_id).update(why=refused.message)
    else:
        Fencing.objects.filter(id=fencing_id).update(machines_started=len(jobs))
    events.publish(kind="host", id=str(fencing.host_id))


@transaction.atomic
def _write_down(fencing_id: UUID, evidence: Evidence, now: datetime) -> Fencing | None:
    """Return None if the fencing had ended before: a late result starts nothing."""
    open_one = Fencing.objects.filter(id=fencing_id, phase__in=Fencing.OPEN)
    if not open_one.update(
        phase=Phase.FAILED if evidence.why else Phase.OFF,
        finished_at=now,
        off_exit=evidence.off_exit,
        status_exit=evidence.status_exit,
        said=evidence.said,
        why=evidence.why,
    ):
        return None
    fencing = Fencing.objects.select_related("host", "asked_by").get(id=fencing_id)
    answers = Message(
        "FENCE_ANSWERS", agent=fencing.agent, off_exit=evidence.off_exit, status_exit=evidence.status_exit
    )
    words = Message.plain(" ".join(evidence.said.split())[:IN_AUDIT])
    detail = tell_all([answers if evidence.off_exit is not None else "", evidence.why, words])
    _record(fencing, "HOST_NOT_FENCED" if evidence.why else "HOST_FENCED", detail, now)
    return fencing


def _record(fencing: Fencing, action: str, detail: str, now: datetime) -> None:
    audit.record(
        actor=fencing.asked_by,
        action=action,
        target_kind="host",
        target_id=str(fencing.host_id),
        target_name=fencing.host.name,
        detail=detail,
        now=now,
    )
    events.publish(kind="host", id=str(fencing.host_id))
