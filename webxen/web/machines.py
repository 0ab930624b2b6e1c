"""Pages of machines: the list, the tabs of a machine, and its actions."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from webxen.accounts.models import User
from webxen.core import clock
from webxen.core.errors import InvalidError, NotFoundError, UserError
from webxen.core.messages import as_sentence, translate
from webxen.jobs import operations
from webxen.jobs import queries as jobs
from webxen.jobs.models import Job
from webxen.machines import lifecycle, queries
from webxen.machines import operations as machines_operations
from webxen.machines.models import Machine
from webxen.web import words
from webxen.web.console_csp import allow_terminal_styles
from webxen.web.decorators import mendable, page, person
from webxen.web.forms import MachineForm, add_refusal
from webxen.web.jobs import job_context
from webxen.web.paging import LongList
from webxen.web.referer import where_from
from webxen.web.templatetags.screens import address

PER_PAGE = 50
#: how long a finished job is shown on the machine's page
SHOWN_AFTER_END = timedelta(minutes=10)
SORTS = {
    "-created_at": gettext_lazy("Newest first"),
    "name": gettext_lazy("By name"),
    "-memory_mib": gettext_lazy("Largest first"),
}


@dataclass(frozen=True)
class Offer:
    """A button, with the reason why it is disabled."""

    button: words.Button
    why_not: str


def with_open_jobs(found: QuerySet[Machine], user: User) -> QuerySet[Machine]:
    """Add `open_jobs` to each machine: a list of at most one job."""
    open_jobs = jobs.visible_to(user=user).filter(status__in=Job.OPEN)
    return found.prefetch_related(Prefetch("jobs", queryset=open_jobs, to_attr="open_jobs"))


@require_safe
@page
def machines(request: HttpRequest) -> HttpResponse:
    user = person(request)
    filters = {key: request.GET.get(key, "").strip() for key in ("q", "power", "state", "sort", "host")}
    found = _filtered(with_open_jobs(queries.visible_to(user=user), user), filters)
    page_obj = LongList(found, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "machines": page_obj.object_list,
        "page_obj": page_obj,
        "filters": filters,
        "is_filtered": any(filters[key] for key in ("q", "power", "state", "host")),
        "powers": words.POWERS.items(),
        "states": [("READY", _("Ready")), *((c, look.word) for c, look in words.MACHINE_STATES.items())][:-1],
        "sorts": SORTS.items(),
    }
    is_part = bool(request.headers.get("HX-Request"))
    return render(request, "web/parts/machines_table.html" if is_part else "web/machines.html", context)


def _filtered(found: QuerySet[Machine], filters: dict[str, str]) -> QuerySet[Machine]:
    if filters["q"]:
        text = filters["q"].replace("\0", "")
        found = found.filter(queries.called(text))
    if filters["power"] in words.POWERS:
        found = found.filter(power=filters["power"], state="READY")
    if filters["state"] in Machine.State.values:
        found = found.filter(state=filters["state"])
    if filters["host"]:
        found = found.filter(host__name=filters["host"])
    return found.order_by(filters["sort"] if filters["sort"] in SORTS else "-created_at")


def _context(request: HttpRequest, id: UUID, tab: str) -> dict[str, Any]:
    """Context of the head of every tab."""
    user = person(request)
    machine = queries.get_visible(user=user, id=id)
    asked = jobs.visible_to(user=user).filter(machine=machine)
    # a separate query: two jobs may have the same creation time
    open_job = asked.filter(status__in=Job.OPEN).first()
    latest = open_job or asked.first()
    allowed = lifecycle.allowed_actions(machine=machine, open_job=open_job, user=user)
    shown = latest if latest and _is_shown(latest, tab) else None
    return {
        **(job_context(shown, is_staff=user.is_staff) if shown else {}),
        "machine": machine,
        "placed_on": jobs.placed_on(machine_id=id) if user.is_staff else "",
        "machine_id": str(machine.id),
        "job": open_job,
        "shown_job": shown,
        "offers": [Offer(button, allowed.get(button.action, "")) for button in words.BUTTONS],
        "refusals": _refusals(allowed, user),
        "why_not_delete": allowed.get("delete", ""),
        "why_not_move": allowed.get("migrate", ""),
        "address": address(machine),
        "interfaces": machine.interfaces.all(),
        "disks": machine.disks.all(),
        "tab": tab,
        "tabs": (
            ("overview", _("Overview"), "info-circle", reverse("machine", args=[id])),
            ("console", _("Console"), "terminal-2", reverse("machine_console", args=[id])),
            ("jobs", _("Jobs"), "list-check", reverse("machine_jobs", args=[id])),
            ("settings", _("Settings"), "settings", reverse("machine_settings", args=[id])),
        ),
    }


def _refusals(allowed: dict[str, str], user: User) -> list[tuple[str, str]]:
    """Reasons of disabled buttons as text: (buttons, reason), each reason once."""
    words_by_reason: dict[str, list[str]] = {}
    buttons = [(button.action, str(button.word)) for button in words.BUTTONS]
    if user.is_staff:
        buttons.append(("migrate", _("Move…")))
    for action, word in buttons:
        if why := allowed.get(action, ""):
            words_by_reason.setdefault(why, []).append(word)
    return [(", ".join(named), translate(why)) for why, named in words_by_reason.items()]


def _is_shown(job: Job, tab: str) -> bool:
    if tab == "console":
        return False  # not on the console tab: it needs the height, and the console shows the boot itself
    if job.status in Job.OPEN or job.status in Job.ENDED_BADLY:
        return True
    return job.finished_at is not None and clock.now() - job.finished_at < SHOWN_AFTER_END


@require_safe
@page
def machine(request: HttpRequest, id: UUID) -> HttpResponse:
    return render(request, "web/machine/overview.html", _context(request, id, "overview"))


@require_safe
@page
def machine_live(request: HttpRequest, id: UUID) -> HttpResponse:
    """The parts of the page that update themselves."""
    parts = {"head": "web/parts/machine_head.html", "overview": "web/parts/machine_overview.html"}
    part = parts.get(request.GET.get("part", "head"))
    if part is None:
        raise NotFoundError
    return render(request, part, _context(request, id, request.GET.get("tab", "overview")))


@require_safe
@page
@allow_terminal_styles
def machine_console(request: HttpRequest, id: UUID) -> HttpResponse:
    return render(request, "web/machine/console.html", _context(request, id, "console"))


@require_safe
@page
def machine_jobs(request: HttpRequest, id: UUID) -> HttpResponse:
    context = _context(request, id, "jobs")
    found = jobs.visible_to(user=person(request)).filter(machine=context["machine"])[:PER_PAGE]
    context |= {"jobs": found, "live_url": request.get_full_path()}
    if request.headers.get("HX-Request"):
        context |= {"live": f"machine:{id}", "source": request.get_full_path()}
        return render(request, "web/parts/jobs_table.html", context)
    return render(request, "web/machine/jobs.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def machine_settings(request: HttpRequest, id: UUID) -> HttpResponse:
    context = _context(request, id, "settings")
    machine = context["machine"]
    initial = {"name": machine.name, "description": machine.description}
    form = MachineForm(request.POST if request.method == "POST" else None, initial=initial)
    if form.is_valid():
        try:
            machines_operations.edit(
                user=person(request),
                machine_id=id,
                name=form.cleaned_data["name"],
                description=form.cleaned_data["description"],
                now=clock.now(),
            )
        except UserError as refused:
            add_refusal(form, refused)
        else:
            messages.success(request, _("Saved."))
            return redirect("machine_settings", id=id)
    status = 400 if form.errors else 200
    return render(request, "web/machine/settings.html", context | {"form": form}, status=status)


@require_POST
@page
def machine_act(request: HttpRequest, id: UUID, action: str) -> HttpResponse:
    """Start an action and return to the previous page, which shows the job."""
    operations.act(user=person(request), machine_id=id, action=action, now=clock.now())
    return redirect(where_from(request, reverse("machine", args=[id])))


@require_http_methods(["GET", "HEAD", "POST"])
@page
def machine_delete(request: HttpRequest, id: UUID) -> HttpResponse:
    """Delete a machine after the user has typed its name, because its disks are lost."""
    context = _context(request, id, "settings")
    machine = context["machine"]
    if request.method == "POST":
        context["typed"] = request.POST.get("name", "").strip()
        if context["typed"] != machine.name:
            context["error"] = _("The name does not match. Nothing was deleted.")
            return render(request, "web/machine/delete.html", context, status=InvalidError.status)
        try:
            operations.delete_machine(user=person(request), machine_id=id, now=clock.now())
        except UserError as refused:
            mendable(refused)
            context["error"] = as_sentence(refused.message)
            return render(request, "web/machine/delete.html", context, status=refused.status)
        messages.success(request, _("Deleting %(name)s was ordered.") % {"name": machine.name})
        return redirect("machines")
    return render(request, "web/machine/delete.html", context)
