"""The page to request a new machine, with its live forecast."""

from datetime import datetime
from itertools import count
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.approvals import operations, requested_spec
from webxen.approvals import queries as requests
from webxen.core import clock
from webxen.core.errors import UserError
from webxen.inventory import queries as inventory
from webxen.inventory.models import Size
from webxen.jobs import placing
from webxen.machines import queries as machines
from webxen.quotas import queries as quotas
from webxen.quotas.shortage import Figures
from webxen.web import again
from webxen.web.decorators import page, person
from webxen.web.forms import OWN_SIZE, NewMachineForm, add_refusal, mark_wrong
from webxen.web.meters import quota_meters
from webxen.web.outlook import Outlook, of_sizes, outlook, refused

#: names checked per query; further names need another query
NAMES_AT_ONCE = 500


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@page
def new_machine(request: HttpRequest) -> HttpResponse:
    user, now = person(request), clock.now()
    if request.method != "POST":
        context = _context(user, _first_choice(request, user), now)
        form = NewMachineForm(initial=context["chosen"])
        return render(request, "web/new_machine.html", context | {"form": form})
    form = NewMachineForm(request.POST)
    mark_wrong(form)
    if form.is_valid():
        try:
            wish = requested_spec.parse(untrusted=form.wish(), user=user)
            asked = operations.submit(user=user, wish=wish, now=now)
        except UserError as why_not:
            add_refusal(form, why_not)
        else:
            if asked.machine_id:
                return redirect("machine", id=asked.machine_id)
            messages.info(request, _("Your request is waiting for approval. Its status is shown here."))
            return redirect("request", id=asked.id)
    context = _context(user, request.POST.dict(), now) | {
        "form": form,
        "nothing_done": _("Nothing has been created yet."),
    }
    return render(request, "web/new_machine.html", context, status=400)


@never_cache
@require_POST
@page
def new_machine_outlook(request: HttpRequest) -> HttpResponse:
    """The size cards and the summary for the present input."""
    return render(
        request,
        "web/parts/new_machine_outlook.html",
        _context(person(request), request.POST.dict(), clock.now()),
    )


def _first_choice(request: HttpRequest, user: User) -> dict[str, str]:
    """Return the initial input: from the query string (image, size, project), or an earlier request."""
    if (before := again.asked_before(request.GET.get("again", ""), user)) is not None:
        return before
    wanted = {key: request.GET.get(key, "") for key in ("project", "image", "size", "network")}
    projects = accounts.projects_of(user=user)
    project = projects.filter(slug=wanted["project"]).first() or projects.first()
    images = inventory.images_visible_to(user=user).filter(is_active=True)
    image = images.filter(slug=wanted["image"]).first() or images.first()
    fitting = inventory.sizes_visible_to(user=user)
    if image:
        fitting = fitting.filter(
            memory_mib__gte=image.min_memory_mib, disk_gib__gte=image.min_disk_mib / 1024
        )
    size = fitting.filter(slug=wanted["size"]).first() or fitting.first()
    network = inventory.networks_visible_to(user=user).first()
    return {
        "name": _suggest_name(user, project),
        "project": project.slug if project else "",
        "image": image.slug if image else "",
        "size": size.slug if size else "",
        "network": network.name if network else "",
        "ssh_keys": user.last_ssh_keys,
        "vcpus": "1",
        "memory_mib": "256",
        "disk_gib": "1",
    }


def _suggest_name(user: User, project: Project | None) -> str:
    """Return the first free name of alice-1, alice-2 …."""
    if project is None:
        return ""
    base = "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in user.username.lower())
    base = "-".join(part for part in base.split("-") if part)[:40] or "machine"
    requested = requests.requested_names(project=project)
    for start in count(1, NAMES_AT_ONCE):
        names = [f"{base}-{number}" for number in range(start, start + NAMES_AT_ONCE)]
        taken = requested | machines.names_taken(project=project, among=names)
        if free := [name for name in names if name not in taken]:
            return free[0]
    raise AssertionError  # pragma: no cover - numbers do not end


def _context(user: User, chosen: dict[str, str], now: datetime) -> dict[str, Any]:
    """Return the context of the page for this input, which may contain anything."""
    projects = list(accounts.projects_of(user=user))
    images = list(inventory.images_visible_to(user=user).filter(is_active=True))
    networks = list(inventory.networks_visible_to(user=user))
    sizes = list(inventory.sizes_visible_to(user=user))
    project = _named(projects, "slug", chosen.get("project")) or (projects[0] if projects else None)
    image = _named(images, "slug", chosen.get("image"))
    network = _named(networks, "name", chosen.get("network"))
    size = _named(sizes, "slug", chosen.get("size"))
    context: dict[str, Any] = {
        "chosen": chosen,
        "projects": projects,
        "images": images,
        "networks": networks,
        "sizes": [],
        "own_size": OWN_SIZE,
        "has_access": any(chosen.get(name, "").strip() for name in ("ssh_keys", "password", "user_data")),
    }
    if project is None:
        return context
    figures, forecast = _figures(chosen, size), placing.Forecast(now=now)
    return context | {
        "project": project,
        "image": image,
        "size": size,
        "sizes": of_sizes(project=project, image=image, network=network, sizes=sizes, forecast=forecast),
        "figures": figures,
        "outlook": _outlook(chosen, project, image, network, figures, size, forecast),
        "meters": quota_meters(headroom=quotas.headroom(project=project), need=figures),
    }


def _outlook(
    chosen: dict[str, str],
    project: Project,
    image: Any,
    network: Any,
    figures: Figures | None,
    size: Size | None,
    forecast: placing.Forecast,
) -> Outlook:
    if figures is None:
        # no size chosen or no valid numbers: nothing can be requested
        is_own = chosen.get("size") == OWN_SIZE
        return refused(_("Enter vCPUs, memory and disk as whole numbers.") if is_own else _("Choose a size."))
    return outlook(
        project=project,
        image=image,
        network=network,
        figures=figures,
        is_listed_size=size is not None,
        forecast=forecast,
    )


def _figures(chosen: dict[str, str], size: Size | None) -> Figures | None:
    """Return the requested resources; None if the input is incomplete."""
    if size is not None:
        return Figures(1, size.vcpus, size.memory_mib, size.disk_gib)
    if chosen.get("size") != OWN_SIZE:
        return None
    numbers = [chosen.get(key, "") for key in ("vcpus", "memory_mib", "disk_gib")]
    if not all(number.isascii() and number.isdigit() and len(number) < 8 for number in numbers):
        return None
    return Figures(1, *map(int, numbers))


def _named(rows: list[Any], field: str, value: str | None) -> Any:
    return next((row for row in rows if value and getattr(row, field) == value), None)
