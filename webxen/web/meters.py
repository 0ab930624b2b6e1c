"""Quota and host bars as numbers for SVG. Pure. The CSP forbids inline styles, so widths are attributes."""

from collections.abc import Callable
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from webxen.quotas.shortage import Figures, Headroom, Running
from webxen.web.templatetags.screens import gib, mib, percent


@dataclass(frozen=True)
class Meter:
    """One resource: used of limit, and what a request would add."""

    word: str | Promise
    used_text: str
    limit_text: str
    more_text: str
    after_text: str
    used_percent: int
    more_percent: int
    more: int
    is_over: bool
    #: more is held than the limit, e.g. because it was lowered
    is_held_over: bool


def quota_meters(*, headroom: Headroom, need: Figures | None = None) -> list[Meter]:
    """Return the four meters of a project; `need` shows before → after."""
    used, limit, more = headroom.reserved, headroom.limit, need or Figures(0, 0, 0, 0)
    return [
        _meter(_("Machines"), used.machines, limit.machines, more.machines, str),
        _meter(_("Processors"), used.vcpus, limit.vcpus, more.vcpus, str),
        _meter(_("Memory"), used.memory_mib, limit.memory_mib, more.memory_mib, _mib),
        _meter(_("Disk"), used.disk_gib, limit.disk_gib, more.disk_gib, gib),
    ]


@dataclass(frozen=True)
class Gauge:
    """One resource of the quota page: held, promised to machines being created, above the limit."""

    word: str | Promise
    icon: str
    held_text: str
    limit_text: str
    promised_text: str
    over_text: str
    free_text: str
    used_percent: int
    promised_percent: int
    over_percent: int
    #: the running part; "" if running is not counted
    running_text: str = ""
    #: promised to machines that will run once they are created
    starting_text: str = ""
    running_limit_text: str = ""
    running_percent: int = 0
    running_over_text: str = ""


def quota_gauges(*, headroom: Headroom, used: Figures, running: Running) -> list[Gauge]:
    """Return the four resources; processors and memory also show what runs and what will run."""
    held, limit = headroom.reserved, headroom.limit
    on, cap = headroom.running, headroom.running_limit
    return [
        _gauge(_("Machines"), "server", (used.machines, held.machines, limit.machines), str),
        _gauge(
            _("Processors"),
            "cpu",
            (used.vcpus, held.vcpus, limit.vcpus),
            str,
            (running.vcpus, on.vcpus, cap.vcpus),
        ),
        _gauge(
            _("Memory"),
            "stack-2",
            (used.memory_mib, held.memory_mib, limit.memory_mib),
            _mib,
            (running.memory_mib, on.memory_mib, cap.memory_mib),
        ),
        _gauge(_("Disk"), "database", (used.disk_gib, held.disk_gib, limit.disk_gib), gib),
    ]


def _gauge(
    word: str | Promise,
    icon: str,
    figures: tuple[int, int, int],
    say: Callable[[int], str],
    running: tuple[int, int, int | None] | None = None,
) -> Gauge:
    used, held, limit = figures
    whole = max(held, limit)
    inside = min(used, limit)
    runs, on, cap = running or (0, 0, None)
    over = max(0, held - limit)
    return Gauge(
        word=word,
        icon=icon,
        held_text=say(held),
        limit_text=say(limit),
        promised_text=say(held - used) if held > used else "",
        over_text=say(over) if over else "",
        free_text=say(max(0, limit - held)),
        used_percent=percent(inside, whole),
        promised_percent=percent(min(held, limit) - inside, whole),
        over_percent=percent(over, whole),
        running_text=say(runs) if running else "",
        starting_text=say(on - runs) if on > runs else "",
        running_limit_text=say(cap) if cap is not None else "",
        running_percent=percent(on, cap if cap is not None else max(held, on)),
        running_over_text=say(on - cap) if cap is not None and on > cap else "",
    )


def _mib(value: int) -> str:
    return mib(value) if value else "0"


def _meter(word: str | Promise, used: int, limit: int, more: int, say: Callable[[int], str]) -> Meter:
    used_percent = percent(min(used, limit), max(used, limit))
    left_percent = 100 - used_percent
    return Meter(
        word=word,
        used_text=say(used),
        limit_text=say(limit),
        more_text=say(more),
        after_text=say(used + more),
        used_percent=used_percent,
        # what exceeds the limit already is shown, regardless of the request
        more_percent=left_percent
        if used > limit
        else min(left_percent, percent(more, limit) or 1)
        if more
        else 0,
        more=more,
        is_over=used + more > limit,
        is_held_over=used > limit,
    )


@dataclass(frozen=True)
class HostBar:
    """A host's memory: used by the host itself, reserved for machines, free."""

    name: str
    look: str
    free_mib: int
    own_percent: int
    reserved_percent: int
    sentence: str


def host_bar(
    *, name: str, look: str, total_mib: int, for_machines_mib: int, reserved_mib: int, sentence: str
) -> HostBar:
    own = max(0, total_mib - for_machines_mib)
    whole = max(total_mib, for_machines_mib)
    return HostBar(
        name=name,
        look=look,
        free_mib=max(0, for_machines_mib - reserved_mib),
        own_percent=percent(own, whole),
        reserved_percent=percent(reserved_mib, whole),
        sentence=sentence,
    )
