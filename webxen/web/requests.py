"""Pages of requests: the user's own, and staff's queue of approvals."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from webxen.accounts.models import User
from webxen.approvals import operations, queries, quota_increase
from webxen.approvals.models import MachineRequest, QuotaRequest
from webxen.core import clock
from webxen.core.errors import UserError
from webxen.core.messages import as_sentence
from webxen.inventory.placement import Verdict
from webxen.jobs import placing
from webxen.jobs import queries as jobs
from webxen.quotas import queries as quotas
from webxen.quotas.operations import QuotaExceededError
from webxen.quotas.shortage import Figures, describe_shortage
from webxen.web import words
from webxen.web.decorators import mendable, page, person, staff_page
from webxen.web.meters import Meter, quota_meters
from webxen.web.outlook import place
from webxen.web.paging import LongList
from webxen.web.referer import where_from
from webxen.web.templatetags.screens import gib, mib, outcome

PER_PAGE = 50
HISTORY = 20


@dataclass(frozen=True)
class Case:
    """A pending request with the information for staff's decision."""

    wish: MachineRequest
    meters: list[Meter]
    shortage: str
    #: placement's result for each host: the chosen one, those that fit, best first, then the others
    hosts: tuple[Verdict, ...]


@require_safe
@page
def requests(request: HttpRequest) -> HttpResponse:
    found = queries.visible_to(user=person(request))
    status = request.GET.get("status", "")
    if status in words.REQUEST_STATUSES:
        found = found.filter(status=status)
    page_obj = LongList(found, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "requests": page_obj.object_list,
        "page_obj": page_obj,
        "status": status,
        "statuses": [(code, look.word) for code, look in words.REQUEST_STATUSES.items()],
    }
    is_part = bool(request.headers.get("HX-Request"))
    return render(request, "web/parts/requests_table.html" if is_part else "web/requests.html", context)


@require_safe
@page
def request(request: HttpRequest, id: UUID) -> HttpResponse:
    user = person(request)
    wish = queries.get_visible(user=user, id=id)
    context = {
        "wish": wish,
        "placed_on": jobs.placed_on(machine_id=wish.machine.id) if user.is_staff and wish.machine else "",
        "is_mine": wish.requester_id == user.id,
        "is_pending": wish.status == "PENDING",
    }
    is_part = bool(request.headers.get("HX-Request"))
    return render(request, "web/parts/request_page.html" if is_part else "web/request.html", context)


@require_POST
@page
def request_withdraw(request: HttpRequest, id: UUID) -> HttpResponse:
    operations.withdraw(user=person(request), request_id=id, now=clock.now())
    messages.success(request, _("Withdrawn."))
    return redirect("request", id=id)


@dataclass(frozen=True)
class Refused:
    """A refused decision: the request, the field, the message and the input."""

    id: UUID
    field: str
    sentence: str
    typed: dict[str, str]


@require_safe
@staff_page
def approvals(request: HttpRequest) -> HttpResponse:
    return show_approvals(request)


def show_approvals(request: HttpRequest, refused: Refused | None = None, status: int = 200) -> HttpResponse:
    """Render staff's queue; a refused decision shows its message at the field and keeps the input."""
    user, now = person(request), clock.now()
    forecast = placing.Forecast(now=now)
    context = {
        "cases": [_case(wish, forecast) for wish in queries.waiting(user=user)],
        "more": [_more(wish) for wish in queries.waiting_for_quota(user=user)],
        "history": _history(user),
        "refused": refused,
    }
    is_part = bool(request.headers.get("HX-Request"))
    template = "web/parts/approvals_queue.html" if is_part else "web/approvals.html"
    return render(request, template, context, status=status)


def _history(user: User) -> list[MachineRequest | QuotaRequest]:
    """The last decisions about machines and quota, newest first."""
    for_machines = queries.visible_to(user=user).exclude(status=MachineRequest.Status.PENDING)
    for_quota = queries.quota_requests_visible_to(user=user).exclude(status=QuotaRequest.Status.PENDING)
    found: list[MachineRequest | QuotaRequest] = [
        *for_machines.order_by("-decided_at")[:HISTORY],
        *for_quota.order_by("-decided_at")[:HISTORY],
    ]
    return sorted(found, key=lambda wish: wish.decided_at or wish.created_at, reverse=True)[:HISTORY]


@dataclass(frozen=True)
class More:
    """A quota request for staff's decision: lines of (resource, present limit, requested limit, is
    increase).
    """

    wish: QuotaRequest
    lines: list[tuple[str, str, str, bool]]


def _more(wish: QuotaRequest) -> More:
    now, asked = (
        quota_increase.limits_of(quotas.headroom(project=wish.project)),
        quota_increase.figures_of(wish),
    )
    says: dict[str, tuple[str, Callable[[int], str]]] = {
        "machines": (_("Machines"), str),
        "vcpus": (_("Processors"), str),
        "memory_mib": (_("Memory"), mib),
        "disk_gib": (_("Disk"), gib),
        "running_vcpus": (_("vCPUs running"), str),
        "running_memory_mib": (_("Memory of running machines"), mib),
    }
    lines = []
    for name, (word, say) in says.items():
        before, after = now[name], asked[name]
        if before is not None and after is not None:
            lines.append((word, say(before), say(max(before, after)), after > before))
    return More(wish, lines)


def _case(wish: MachineRequest, forecast: placing.Forecast) -> Case:
    need = Figures(1, wish.vcpus, wish.memory_mib, wish.disk_gib)
    headroom = quotas.headroom(project=wish.project)
    return Case(
        wish=wish,
        meters=quota_meters(headroom=headroom, need=need),
        shortage=describe_shortage(headroom, need),
        hosts=place(image=wish.image, network=wish.network, figures=need, forecast=forecast).verdicts,
    )


@require_POST
@staff_page
def request_approve(request: HttpRequest, id: UUID) -> HttpResponse:
    typed = {name: request.POST.get(name, "") for name in ("host", "raise_quota")}
    try:
        wish = operations.approve(
            staff=person(request),
            request_id=id,
            host_name=typed["host"] or None,
            raise_quota=typed["raise_quota"] == "on",
            now=clock.now(),
        )
    except QuotaExceededError as refused:
        sentence = _("%(why)s Select “Raise quota” to approve anyway.") % {
            "why": as_sentence(refused.message)
        }
        return refuse_decision(request, refused, Refused(id, "raise_quota", sentence, typed))
    except UserError as refused:
        field = "name" if "name" in refused.fields else "host"
        return refuse_decision(request, refused, Refused(id, field, as_sentence(refused.message), typed))
    messages.success(request, f"{_('%(name)s was approved.') % {'name': wish.name}} {outcome(wish)}".strip())
    return redirect(_back(request))


@require_POST
@staff_page
def request_reject(request: HttpRequest, id: UUID) -> HttpResponse:
    typed = {"reason": request.POST.get("reason", "")}
    try:
        wish = operations.reject(
            staff=person(request), request_id=id, reason=typed["reason"], now=clock.now()
        )
    except UserError as refused:
        return refuse_decision(request, refused, Refused(id, "reason", as_sentence(refused.message), typed))
    messages.success(request, _("%(name)s was rejected.") % {"name": wish.name})
    return redirect(_back(request))


def refuse_decision(request: HttpRequest, why: UserError, refused: Refused) -> HttpResponse:
    """Render the queue with the refusal, or redirect if the request is no longer pending."""
    mendable(why)
    still_there = (
        queries.waiting(user=person(request)).filter(id=refused.id).exists()
        or queries.waiting_for_quota(user=person(request)).filter(id=refused.id).exists()
    )
    if not still_there:
        messages.error(request, refused.sentence)
        return redirect("approvals")
    return show_approvals(request, refused, why.status)


def _back(request: HttpRequest) -> str:
    return where_from(request, reverse("approvals"))
