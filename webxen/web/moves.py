"""Staff's page for moving one machine: every host with what is in the way, and the button."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from webxen.core import clock
from webxen.core.errors import InvalidError
from webxen.jobs import move_plans, moving
from webxen.machines import queries
from webxen.web.doors import person, staff_page

MOST_RATE = 100_000


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page
def machine_move(request: HttpRequest, id: UUID) -> HttpResponse:
    """Choose a host, or let placement choose; the machine's page then shows the move."""
    user = person(request)
    machine = queries.get_visible(user=user, id=id)
    values = request.POST if request.method == "POST" else request.GET
    one_way = bool(values.get("one_way"))
    if request.method == "POST":
        moving.migrate_machine(
            user=user,
            machine_id=id,
            host_name=request.POST.get("host") or None,
            method=request.POST.get("method", "auto").upper(),
            one_way_is_fine=one_way,
            rate_mib_s=_rate(request.POST.get("rate", "")),
            now=clock.now(),
        )
        messages.success(request, _("%(name)s is being moved.") % {"name": machine.name})
        return redirect("machine", id=id)
    plan = move_plans.plan_for(user=user, machine_id=id, one_way_is_fine=one_way, now=clock.now())
    context: dict[str, Any] = {
        "machine": machine,
        "plan": plan,
        "one_way": one_way,
        "can_move": not plan.why_not and any(option.fits for option in plan.hosts),
        "has_one_way": any(option.is_one_way for option in plan.hosts),
    }
    return render(request, "web/machine/move.html", context)


def _rate(untrusted: str) -> int | None:
    """MiB/s, or nothing for the usual one."""
    if not untrusted.strip():
        return None
    if untrusted.strip().isdecimal() and int(untrusted) <= MOST_RATE:
        return int(untrusted)
    why = _("The speed is a whole number of MiB/s.")
    raise InvalidError(why, fields={"rate": [why]})
