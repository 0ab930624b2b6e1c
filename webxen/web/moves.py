"""Staff's page to migrate one machine: all hosts with the obstacles, and the form."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from webxen.core import clock
from webxen.core.errors import UserError
from webxen.machines import queries
from webxen.machines.models import Machine
from webxen.migration import operations as migration
from webxen.migration import preview
from webxen.web.decorators import mendable, person, staff_page
from webxen.web.forms import MoveForm, add_refusal, mark_wrong


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page
def machine_move(request: HttpRequest, id: UUID) -> HttpResponse:
    """Show the possible hosts (GET), or start the migration (POST)."""
    machine = queries.get_visible(user=person(request), id=id)
    if request.method != "POST":
        return _show(request, machine, None, one_way=bool(request.GET.get("one_way")))
    form = MoveForm(request.POST)
    one_way = bool(request.POST.get("one_way"))
    mark_wrong(form)
    if form.is_valid():
        try:
            migration.migrate_machine(
                user=person(request),
                machine_id=id,
                host_name=form.cleaned_data["host"] or None,
                method=(form.cleaned_data["method"] or "auto").upper(),
                one_way_is_fine=one_way,
                rate_mib_s=form.cleaned_data["rate"],
                now=clock.now(),
            )
        except UserError as refused:
            mendable(refused)
            add_refusal(form, refused)
        else:
            messages.success(request, _("Moving %(name)s was ordered.") % {"name": machine.name})
            return redirect("machine", id=id)
    return _show(request, machine, form, one_way=one_way)


def _show(request: HttpRequest, machine: Machine, form: MoveForm | None, *, one_way: bool) -> HttpResponse:
    plan = preview.plan_for(
        user=person(request), machine_id=machine.id, one_way_is_fine=one_way, now=clock.now()
    )
    choice = next((option for option in plan.hosts if option.is_choice), None)
    if form is None:
        # the initial selection can be submitted as it is
        is_cold = machine.power == "OFF" or (choice is not None and choice.method == "COLD")
        form = MoveForm(
            initial={"host": choice.host if choice else "", "method": "cold" if is_cold else "auto"}
        )
    if settings.WEBXEN_MOVE_RATE_MIB_S:
        form.fields["rate"].widget.attrs["placeholder"] = str(settings.WEBXEN_MOVE_RATE_MIB_S)
    context: dict[str, Any] = {
        "machine": machine,
        "plan": plan,
        "form": form,
        "chosen_host": form["host"].value(),
        "one_way": one_way,
        "can_move": not plan.why_not and any(option.fits for option in plan.hosts),
        "has_one_way": any(option.is_one_way for option in plan.hosts),
        "nothing_done": _("Nothing has been moved."),
    }
    return render(request, "web/machine/move.html", context, status=400 if form.errors else 200)
