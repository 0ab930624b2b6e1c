"""The quota page of a project: usage, shortage, whom to ask; and requests for more."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.approvals import operations, queries, quota_increase
from webxen.approvals.models import QuotaRequest
from webxen.core import clock
from webxen.core.errors import InvalidError, NotFoundError, UserError
from webxen.core.messages import as_sentence
from webxen.machines import queries as machines
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas import queries as quota_queries
from webxen.quotas.models import Reservation
from webxen.quotas.shortage import IDLE, Figures, RunningLimit
from webxen.web.decorators import mendable, page, person, staff_page
from webxen.web.forms import LimitsForm, MoreQuotaForm, add_refusal, mark_wrong
from webxen.web.meters import Gauge, quota_gauges
from webxen.web.paging import LongList
from webxen.web.referer import where_from
from webxen.web.requests import Refused, refuse_decision

HISTORY = 10
PER_PAGE = 50


@dataclass(frozen=True)
class Holder:
    """A reservation with its machine; None if the machine does not exist."""

    machine: Machine | None
    held: Reservation


@require_safe
@page
def quota(request: HttpRequest) -> HttpResponse:
    user = person(request)
    projects = list(accounts.visible_projects(user=user))
    slug = request.GET.get("project", "")
    project = next((one for one in projects if one.slug == slug), None)
    if slug and project is None:
        raise NotFoundError
    return _show(request, project or (projects[0] if projects else None))


def _show(
    request: HttpRequest, project: Project | None, *, status: int = 200, **typed: forms.Form
) -> HttpResponse:
    """Render a project's page; `typed`: a form that was refused, with its input."""
    user = person(request)
    context: dict[str, Any] = {
        "projects": list(accounts.visible_projects(user=user)),
        "project": project,
        "nothing_done": _("Nothing has been changed yet."),
    }
    if project is not None:
        context |= _context(user, project, request.GET.get("page")) | typed
    is_part = bool(request.headers.get("HX-Request"))
    template = "web/parts/quota_live.html" if is_part else "web/quota.html"
    return render(request, template, context, status=status)


def _context(user: User, project: Project, number: str | None) -> dict[str, Any]:
    found = quota_queries.visible_to(user=user).filter(project=project).first()
    limits = quota_increase.limits_of(quota_queries.headroom(project=project))
    asked = queries.quota_requests_visible_to(user=user).filter(project=project)
    open_wish = asked.filter(status=QuotaRequest.Status.PENDING, requester=user).first()
    wanted = {**quota_increase.figures_of(open_wish), "reason": open_wish.reason} if open_wish else {}
    return {
        "gauges": _gauges(project, found),
        **_holders(user, project, number),
        "asked": asked[:HISTORY],
        "is_mine": accounts.projects_of(user=user).filter(id=project.id).exists(),
        "open_wish": open_wish,
        "ask_form": MoreQuotaForm(
            limits=limits,
            auto_id="ask-%s",
            initial=limits | {name: value for name, value in wanted.items() if value is not None},
        ),
        "limits_form": LimitsForm(auto_id="set-%s", initial=limits),
        "staff": accounts.staff(),
    }


def _gauges(project: Project, found: Any) -> list[Gauge]:
    is_empty = found is None
    return quota_gauges(
        headroom=quota_queries.headroom(project=project),
        used=Figures(0, 0, 0, 0) if is_empty else quota_queries.used_of(found),
        running=IDLE if is_empty else quota_queries.running_of(found),
    )


def _holders(user: User, project: Project, number: str | None) -> dict[str, Any]:
    """A page of the reservations, the largest first."""
    page_obj = LongList(quota_queries.held_in(project=project), PER_PAGE).get_page(number)
    ids = [held.holder for held in page_obj.object_list]
    there = machines.visible_to(user=user).filter(project=project).in_bulk(ids)
    return {
        "holders": [Holder(there.get(held.holder), held) for held in page_obj.object_list],
        "page_obj": page_obj,
    }


@require_POST
@page
def project_ask(request: HttpRequest, id: UUID) -> HttpResponse:
    """Submit a request for more quota, or change the pending one."""
    user, now = person(request), clock.now()
    project = _project(user, id)
    limits = quota_increase.limits_of(quota_queries.headroom(project=project))
    form = MoreQuotaForm(request.POST, limits=limits, auto_id="ask-%s")
    if not form.is_valid():
        mark_wrong(form)
        return _show(request, project, status=InvalidError.status, ask_form=form)
    untrusted = {**form.numbers(), "reason": form.cleaned_data["reason"], "project": str(project.id)}
    try:
        wish = quota_increase.parse(untrusted=untrusted, user=user)
        waiting = queries.waiting_for_quota(user=user).filter(project=project, requester=user).first()
        if waiting is None:
            operations.ask_for_quota(user=user, wish=wish, now=now)
            messages.success(request, _("Your request for more quota was sent."))
        else:
            operations.change_quota_request(user=user, request_id=waiting.id, wish=wish, now=now)
            messages.success(request, _("Your request was changed."))
    except UserError as refused:
        mendable(refused)
        add_refusal(form, refused)
        return _show(request, project, status=refused.status, ask_form=form)
    return redirect(f"{reverse('quota')}?project={wish.project.slug}")


def _project(user: User, id: UUID) -> Project:
    project = accounts.visible_projects(user=user).filter(id=id).first()
    if project is None:
        raise NotFoundError
    return project


@require_POST
@staff_page
def project_limits(request: HttpRequest, id: UUID) -> HttpResponse:
    """Set a project's limits, which may be below what it holds; for staff."""
    user = person(request)
    project = _project(user, id)
    form = LimitsForm(request.POST, auto_id="set-%s")
    for name, number in form.numbers().items() if form.is_valid() else ():
        if not 0 <= number <= quota_increase.HIGHEST[name]:
            bounds = {"n": 0, "m": quota_increase.HIGHEST[name]}
            form.add_error(name, _("Enter a whole number from %(n)s to %(m)s.") % bounds)
    if form.errors:
        mark_wrong(form)
        return _show(request, project, status=InvalidError.status, limits_form=form)
    given = form.numbers()
    quotas.set_limits(
        project=project,
        limits=Figures(given["machines"], given["vcpus"], given["memory_mib"], given["disk_gib"]),
        running=RunningLimit(given.get("running_vcpus"), given.get("running_memory_mib")),
        staff=user,
        now=clock.now(),
    )
    messages.success(request, _("The quota of %(name)s was set.") % {"name": project.name})
    return redirect(f"{reverse('quota')}?project={project.slug}")


@require_POST
@page
def more_withdraw(request: HttpRequest, id: UUID) -> HttpResponse:
    operations.withdraw_quota(user=person(request), request_id=id, now=clock.now())
    messages.success(request, _("Withdrawn."))
    return redirect(where_from(request, reverse("quota")))


@require_POST
@staff_page
def more_approve(request: HttpRequest, id: UUID) -> HttpResponse:
    version = request.POST.get("version", "")
    is_number = version.isascii() and version.isdigit() and len(version) < 9
    try:
        done = operations.approve_quota(
            staff=person(request), request_id=id, version=int(version) if is_number else 0, now=clock.now()
        )
    except UserError as refused:
        return refuse_decision(request, refused, Refused(id, "version", as_sentence(refused.message), {}))
    messages.success(request, _("The quota of %(name)s was raised.") % {"name": done.project.name})
    return redirect(where_from(request, reverse("approvals")))


@require_POST
@staff_page
def more_reject(request: HttpRequest, id: UUID) -> HttpResponse:
    typed = {"reason": request.POST.get("reason", "")}
    try:
        done = operations.reject_quota(
            staff=person(request), request_id=id, reason=typed["reason"], now=clock.now()
        )
    except UserError as refused:
        return refuse_decision(request, refused, Refused(id, "reason", as_sentence(refused.message), typed))
    sentence = _("The request of %(project)s for more quota was rejected.")
    messages.success(request, sentence % {"project": done.project.name})
    return redirect(where_from(request, reverse("approvals")))
