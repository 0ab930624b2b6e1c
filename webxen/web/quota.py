"""The page of a project's quota: who uses what, how much is missing, whom to ask; and asking."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.approvals import more, operations, queries
from webxen.approvals.models import QuotaRequest
from webxen.core import clock
from webxen.core.errors import InvalidError, NotFoundError
from webxen.machines import queries as machines
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas import queries as quota_queries
from webxen.quotas.models import Reservation
from webxen.quotas.shortage import Figures, RunningLimit
from webxen.web.doors import page, person, staff_page, where_from
from webxen.web.meters import Gauge, quota_gauges

HISTORY = 10


@dataclass(frozen=True)
class Holder:
    """A machine with what it holds; None for one that the ledger knows and nobody else."""

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
    project = project or (projects[0] if projects else None)
    context = {"projects": projects, "project": project}
    if project is not None:
        context |= _context(user, project)
    is_part = bool(request.headers.get("HX-Request"))
    return render(request, "web/parts/quota_live.html" if is_part else "web/quota.html", context)


def _context(user: User, project: Project) -> dict[str, Any]:
    found = quota_queries.visible_to(user=user).filter(project=project).first()
    room = quota_queries.headroom(project=project)
    asked = queries.quota_requests_visible_to(user=user).filter(project=project)
    return {
        "gauges": _gauges(project, found),
        "holders": _holders(user, project),
        "limits": more.limits_of(room),
        "asked": asked[:HISTORY],
        "is_mine": accounts.projects_of(user=user).filter(id=project.id).exists(),
        "open_wish": asked.filter(status=QuotaRequest.Status.PENDING, requester=user).first(),
        "staff": accounts.staff(),
    }


def _gauges(project: Project, found: Any) -> list[Gauge]:
    used = Figures(0, 0, 0, 0) if found is None else quota_queries.used_of(found)
    return quota_gauges(headroom=quota_queries.headroom(project=project), used=used)


def _holders(user: User, project: Project) -> list[Holder]:
    there = {machine.id: machine for machine in machines.visible_to(user=user).filter(project=project)}
    return [Holder(there.get(held.holder), held) for held in quota_queries.held_in(project=project)]


@require_POST
@page
def project_ask(request: HttpRequest, id: UUID) -> HttpResponse:
    """Ask for more, or change what one asked for and waits."""
    user, now = person(request), clock.now()
    untrusted = _numbers(request, more.HIGHEST)
    untrusted["reason"] = request.POST.get("reason", "")
    project = _project(user, id)
    wish = more.parse(untrusted={**untrusted, "project": str(project.id)}, user=user)
    waiting = queries.waiting_for_quota(user=user).filter(project=project, requester=user).first()
    if waiting is None:
        operations.ask_for_quota(user=user, wish=wish, now=now)
        messages.success(request, _("Staff is asked for more quota."))
    else:
        operations.change_quota_request(user=user, request_id=waiting.id, wish=wish, now=now)
        messages.success(request, _("Your request is changed."))
    return redirect(f"{reverse('quota')}?project={wish.project.slug}")


def _project(user: User, id: UUID) -> Project:
    project = accounts.visible_projects(user=user).filter(id=id).first()
    if project is None:
        raise NotFoundError
    return project


def _numbers(request: HttpRequest, names: Any) -> dict[str, object]:
    """What was typed, as numbers where it is one; an empty field is left out."""
    typed = {name: request.POST.get(name, "").strip() for name in names}
    return {
        name: int(text) if text.isascii() and text.isdigit() and len(text) < 12 else text
        for name, text in typed.items()
        if text
    }


@require_POST
@staff_page
def project_limits(request: HttpRequest, id: UUID) -> HttpResponse:
    """Staff sets limits, below what is held too."""
    user = person(request)
    project = _project(user, id)
    numbers = _numbers(request, more.HIGHEST)
    given = {name: number for name, number in numbers.items() if isinstance(number, int)}
    needed = set(more.HIGHEST) - set(more.OPTIONAL)
    if len(given) != len(numbers) or not needed <= set(given):
        raise InvalidError(_("Give each limit as a whole number."))
    if any(number > more.HIGHEST[name] for name, number in given.items()):
        raise InvalidError(_("A limit is higher than anybody can have."))
    quotas.set_limits(
        project=project,
        limits=Figures(given["machines"], given["vcpus"], given["memory_mib"], given["disk_gib"]),
        running=RunningLimit(given.get("running_vcpus"), given.get("running_memory_mib")),
        staff=user,
        now=clock.now(),
    )
    messages.success(request, _("The quota of %(name)s is set.") % {"name": project.name})
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
    done = operations.approve_quota(
        staff=person(request), request_id=id, version=int(version) if is_number else 0, now=clock.now()
    )
    messages.success(request, _("%(name)s has more quota now.") % {"name": done.project.name})
    return redirect(where_from(request, reverse("approvals")))


@require_POST
@staff_page
def more_reject(request: HttpRequest, id: UUID) -> HttpResponse:
    done = operations.reject_quota(
        staff=person(request), request_id=id, reason=request.POST.get("reason", ""), now=clock.now()
    )
    messages.success(request, _("%(name)s is rejected.") % {"name": done.project.name})
    return redirect(where_from(request, reverse("approvals")))
