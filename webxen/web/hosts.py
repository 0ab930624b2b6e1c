"""Staff's pages of hosts: the list, and one host with its facts, pools, bridges and domains."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.humanize.templatetags.humanize import naturaltime
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from webxen.core import clock
from webxen.inventory import floods, queries
from webxen.inventory.facts import in_order
from webxen.inventory.models import Host
from webxen.machines import foreign_domains
from webxen.machines import queries as machines
from webxen.machines.models import Machine
from webxen.web.decorators import person, staff_page
from webxen.web.evacuations import standing_context
from webxen.web.meters import HostBar, host_bar
from webxen.web.paging import LongList
from webxen.web.templatetags.screens import lasting, mib, percent
from worker import contract

PER_PAGE = 50
#: reported columns that the list does not show: kilobytes per host
NOT_LISTED = ("domains", "holdings", "images", "kernels", "bridges", "portal_keys", "broker_passwords")
#: maximum digits of a MiB value in a host's facts
MOST_DIGITS = 10


def look_of(host: Host, now: datetime) -> str:
    """Return the code of the badge; SILENT takes precedence over the state."""
    if host.state != Host.State.NEW and queries.is_silent(host=host, now=now):
        return "SILENT"
    return str(host.state)


def bar_of(host: Host, now: datetime) -> HostBar:
    total = _number(host.facts.get("total_memory", "")) or host.memory_mib
    sentence = _("%(promised)s of %(all)s allocated to machines; the host has %(total)s in total") % {
        "promised": mib(host.memory_reserved_mib),
        "all": mib(host.memory_mib),
        "total": mib(total),
    }
    return host_bar(
        name=host.name,
        look=look_of(host, now),
        total_mib=total,
        for_machines_mib=host.memory_mib,
        reserved_mib=host.memory_reserved_mib,
        sentence=sentence,
    )


def notes_of(host: Host, now: datetime) -> list[str]:
    """Notes about problems of the host that staff must fix."""
    notes = (_version_note(host), _clock_note(host, now), _odd_note(host), _relay_note(host))
    return [*(note for note in notes if note), *_flood_notes(host, now)]


def _flood_notes(host: Host, now: datetime) -> list[str]:
    sentences = {
        "reports": _(
            "%(host)s sends more messages than are read: some were dropped, the last time %(when)s. Look at "
            "its dom0 and its worker; reports on jobs are told again by themselves."
        ),
        "console": _(
            "%(host)s writes more into its consoles than its console service may: it was skipped, the last "
            "time %(when)s. Look at its dom0: somebody else writes there in its name."
        ),
    }
    told = floods.told_of(host=host, now=now)
    return [sentences[what] % {"host": host.name, "when": naturaltime(at)} for what, at in told.items()]


def _odd_note(host: Host) -> str:
    names = {
        "facts": _("facts"),
        "pools": _("pools"),
        "bridges": _("bridges"),
        "images": _("images"),
        "kernels": _("kernels"),
        "domains": _("domains"),
        "machines": _("machines"),
        "volumes": _("volumes"),
        "fences": _("fences"),
        "jobs": _("jobs"),
        "portal_keys": _("keys of the portal"),
        "addresses": _("addresses"),
        "receipts": _("receipts of orders"),
    }
    parts = [f"{names[part]}: {count}" for part, count in host.left_out.items() if part in names]
    if not parts:
        return ""
    sentence = _(
        "%(host)s tells more than is kept, or names that none can have. Left out: %(parts)s. Look at its dom0"
        " and its worker: something is wrong there, or somebody else signs with its key."
    )
    return sentence % {"host": host.name, "parts": ", ".join(parts)}


def _relay_note(host: Host) -> str:
    if "relay" not in host.left_out:
        return ""
    sentence = _(
        "The relay address reported by %(host)s is not trusted, so no machine can move to it "
        "or from it. Set WEBXEN_RELAY_ADDRESS there, or WEBXEN_RELAY_NETWORKS here."
    )
    return sentence % {"host": host.name}


def _unnamed_note(host: Host, seen: dict[str, Any], *, is_ours: bool) -> str:
    """Advice about a domain without a name; "" if it has one."""
    if seen.get("domain"):
        return ""
    if is_ours:
        return _("It has no name: Xen is creating or removing it. If it stays, power the machine off.")
    sentence = _(
        "It has no name: it is incomplete or being removed. If it stays, destroy it as root "
        "on %(host)s: xl destroy %(domid)s"
    )
    return sentence % {"host": host.name, "domid": seen.get("domid", "?")}


def _version_note(host: Host) -> str:
    if host.other_protocol is None:
        return ""
    sentence = _(
        "%(host)s uses protocol version %(version)s, the portal version %(ours)s: they cannot "
        "communicate, and its jobs wait. Install the same WebXen version on both."
    )
    return sentence % {
        "host": host.name,
        "version": host.other_protocol,
        "ours": contract.PROTOCOL_VERSION,
    }


def _clock_note(host: Host, now: datetime) -> str:
    wrong = queries.wrong_clock_of(host=host, now=now)
    if wrong is None:
        return ""
    sentence = (
        _("The clock of %(host)s is %(time)s ahead; it rejects jobs as expired. Set it (chrony).")
        if wrong.drops_orders
        else _(
            "The clock of %(host)s is %(time)s ahead. Set it (chrony); if it gets further ahead, "
            "jobs are rejected."
        )
    )
    return sentence % {"host": host.name, "time": lasting(wrong.ahead_seconds)}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < MOST_DIGITS else 0


@dataclass(frozen=True)
class DomainRow:
    """An observed domain, for the host's page."""

    seen: dict[str, Any]
    machine: Machine | None
    #: advice for staff
    note: str
    #: whether staff marked it as known; None: it cannot be marked, being the portal's or without uuid
    is_left_alone: bool | None


def _domains(host: Host, ours: dict[str, Machine]) -> list[DomainRow]:
    known = foreign_domains.left_alone_on([host])[host.id]
    nobodys = {str(domain.get("uuid")) for domain in foreign_domains.strangers_on(host)} - {""}
    rows = []
    for seen in host.domains or []:
        uuid = str(seen.get("uuid"))
        machine = ours.get(uuid)
        note = _unnamed_note(host, seen, is_ours=machine is not None)
        rows.append(DomainRow(seen, machine, note, (uuid in known) if uuid in nobodys else None))
    return rows


@require_POST
@staff_page
def host_domain(request: HttpRequest, name: str, uuid: UUID) -> HttpResponse:
    """Mark this foreign domain as known, or remove the mark."""
    user, now = person(request), clock.now()
    found = queries.get_visible_host_named(user=user, name=name)
    act = foreign_domains.watch_again if request.POST.get("watch") else foreign_domains.leave_alone
    act(staff=user, host_id=found.id, uuid=uuid, now=now)
    return redirect("host", name=name)


@require_safe
@staff_page
def hosts(request: HttpRequest) -> HttpResponse:
    now = clock.now()
    found = queries.hosts_visible_to(user=person(request)).defer(*NOT_LISTED)
    page_obj = LongList(found, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "hosts": [(host, bar_of(host, now), notes_of(host, now)) for host in page_obj.object_list],
        "page_obj": page_obj,
        "source": request.get_full_path(),
    }
    is_part = bool(request.headers.get("HX-Request"))
    return render(request, "web/parts/hosts_table.html" if is_part else "web/hosts.html", context)


@require_safe
@staff_page
def host(request: HttpRequest, name: str) -> HttpResponse:
    user, now = person(request), clock.now()
    found = queries.get_visible_host_named(user=user, name=name)
    ours = {str(machine.id): machine for machine in machines.visible_to(user=user).filter(host=found)}
    pools = found.pools.all()
    spaces = queries.spaces(pools=pools, now=now)
    context: dict[str, Any] = {
        "host": found,
        "is_new": found.state == Host.State.NEW,
        "bar": bar_of(found, now),
        "notes": notes_of(found, now),
        "facts": in_order(found.facts),
        "shared_pools": queries.shared_pools_of(host=found),
        "pools": [
            (pool, percent(pool.total_mib - pool.free_mib, pool.total_mib), spaces[pool.id]) for pool in pools
        ],
        "domains": _domains(found, ours),
        "domains_known": found.domains is not None,
        "machines_here": len(ours),
        **standing_context(request, found),
    }
    is_part = bool(request.headers.get("HX-Request"))
    return render(request, "web/parts/host_page.html" if is_part else "web/host.html", context)
