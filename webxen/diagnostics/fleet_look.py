"""What staff's page of differences shows: of a few machines as of now, of many as the clock last compared.

Comparing everything takes as long as there are machines. One host can be compared at any time. Complete and
never older than its call is `verify` alone, which `manage.py verify` runs.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from webxen.core import kept_results
from webxen.diagnostics.findings import Finding, Severity
from webxen.diagnostics.verify import Verdict, look_at_host, verify
from webxen.inventory import restores
from webxen.inventory.models import Host
from webxen.machines import figures

KIND = "DIFFERENCES"
#: findings of one kind that are shown: who has more has one cause, and `manage.py verify` lists them all
SHOWN = 50


@dataclass(frozen=True)
class Group:
    """Findings of one kind, as far as they are shown."""

    code: str
    shown: list[Finding]
    left_out: int


@dataclass(frozen=True)
class Look:
    """What was compared, and when."""

    #: None: there are too many machines to compare them now, and the clock has not done so yet
    at: datetime | None
    summary: str
    groups: list[Group]
    #: ids of the machines named in the groups that have a page
    known: frozenset[str]
    #: why the portal gives no orders until staff has looked; "": it does
    held: str = ""
    #: it was compared by the clock, not for this look
    is_kept: bool = False


def look(*, now: datetime) -> Look:
    """All hosts: as of now where there are few machines, otherwise as the clock compared them last."""
    if not figures.are_many():
        return _look_of(verify(host=None, fixed_by=None, now=now), now)
    restore, kept = restores.open_restore(), kept_results.latest(kind=KIND)
    held = restore.why if restore else ""
    if kept is None:
        return Look(None, "", [], frozenset(), held, is_kept=True)
    said: dict[str, Any] = kept.data
    return Look(
        at=kept.at,
        summary=said["summary"],
        groups=[_group_from(one) for one in said["groups"]],
        known=frozenset(said["known"]),
        held=held,
        is_kept=True,
    )


def look_at(*, host: Host, now: datetime) -> Look:
    """One host, as of now."""
    return _look_of(look_at_host(host=host, now=now), now)


def compare_all(*, now: datetime) -> None:
    """The clock's share: compare everything and keep the result, where pages cannot do so themselves."""
    if figures.are_many():
        found = _look_of(verify(host=None, fixed_by=None, now=now), now)
        groups = [asdict(group) for group in found.groups]
        data = {"summary": found.summary, "groups": groups, "known": sorted(found.known)}
        kept_results.keep(kind=KIND, data=data, now=now)


def _look_of(verdict: Verdict, now: datetime) -> Look:
    groups = [_group(code, list(found)) for code, found in groupby(verdict.findings, lambda one: one.code)]
    named = {finding.machine_id for group in groups for finding in group.shown}
    # a domain that nobody knows has no page
    known = {one.id for one in verdict.picture.machines if one.id in named and not one.is_deleted}
    return Look(now, verdict.summary, groups, frozenset(known), verdict.picture.held)


def _group(code: str, found: list[Finding]) -> Group:
    return Group(code, found[:SHOWN], max(len(found) - SHOWN, 0))


def _group_from(said: dict[str, Any]) -> Group:
    return Group(said["code"], [_finding_from(one) for one in said["shown"]], said["left_out"])


def _finding_from(said: dict[str, Any]) -> Finding:
    weight = said["weight"] and Severity(said["weight"])
    return Finding(**{**said, "hosts": tuple(said["hosts"]), "weight": weight})
