"""Content of the differences page: computed now for few machines, otherwise by a periodic task.

The duration of the comparison grows with the number of machines. One host can be compared at any time. Only
`verify` (`manage.py verify`) is always complete and current.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from webxen.core import kept_results
from webxen.core.messages import Message, as_message
from webxen.diagnostics.findings import Finding, Severity
from webxen.diagnostics.verify import Verdict, look_at_host, verify
from webxen.inventory import restores
from webxen.inventory.models import Host
from webxen.machines import figures

KIND = "DIFFERENCES"
#: maximum number of findings per code; more have one cause, and `manage.py verify` lists all of them
SHOWN = 50


@dataclass(frozen=True)
class Group:
    """Findings with one code, as far as they are shown."""

    code: str
    shown: list[Finding]
    left_out: int


@dataclass(frozen=True)
class Look:
    """A comparison and its time."""

    #: None: too many machines to compare them now, and the periodic task has not run yet
    at: datetime | None
    summary: str
    groups: list[Group]
    #: ids of the machines in the groups that have a page
    known: frozenset[str]
    #: why the portal gives no orders until staff confirms; "": it does
    held: str = ""
    #: the result of the periodic task, not computed for this call
    is_kept: bool = False


def look(*, now: datetime) -> Look:
    """Compare all hosts: now if there are few machines, otherwise return the periodic task's last result."""
    if not figures.are_many():
        return _look_of(verify(host=None, fixed_by=None, now=now), now)
    restore, kept = restores.open_restore(), kept_results.latest(kind=KIND)
    held = restore.why if restore else ""
    if kept is None:
        return Look(None, "", [], frozenset(), held, is_kept=True)
    said: dict[str, Any] = kept.data
    return Look(
        at=kept.at,
        summary=Message.load(said["summary"]),
        groups=[_group_from(one) for one in said["groups"]],
        known=frozenset(said["known"]),
        held=held,
        is_kept=True,
    )


def look_at(*, host: Host, now: datetime) -> Look:
    """Compare one host now."""
    return _look_of(look_at_host(host=host, now=now), now)


def compare_all(*, now: datetime) -> None:
    """Periodic task: compare everything and store the result, if there are too many machines for pages to do
    so.
    """
    if figures.are_many():
        found = _look_of(verify(host=None, fixed_by=None, now=now), now)
        groups = [_as_data(group) for group in found.groups]
        data = {"summary": as_message(found.summary).dump(), "groups": groups, "known": sorted(found.known)}
        kept_results.keep(kind=KIND, data=data, now=now)


def _look_of(verdict: Verdict, now: datetime) -> Look:
    groups = [_group(code, list(found)) for code, found in groupby(verdict.findings, lambda one: one.code)]
    named = {finding.machine_id for group in groups for finding in group.shown}
    # an unknown domain has no page
    known = {one.id for one in verdict.picture.machines if one.id in named and not one.is_deleted}
    return Look(now, verdict.summary, groups, frozenset(known), verdict.picture.held)


def _group(code: str, found: list[Finding]) -> Group:
    return Group(code, found[:SHOWN], max(len(found) - SHOWN, 0))


def _as_data(group: Group) -> dict[str, Any]:
    """As JSON, each message with its code."""
    shown = [{**asdict(one), "said": one.said.dump()} for one in group.shown]
    return {"code": group.code, "shown": shown, "left_out": group.left_out}


def _group_from(said: dict[str, Any]) -> Group:
    return Group(said["code"], [_finding_from(one) for one in said["shown"]], said["left_out"])


def _finding_from(said: dict[str, Any]) -> Finding:
    weight = said["weight"] and Severity(said["weight"])
    return Finding(
        **{**said, "hosts": tuple(said["hosts"]), "weight": weight, "said": Message.load(said["said"])}
    )
