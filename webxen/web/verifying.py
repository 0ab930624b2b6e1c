"""Staff's page of differences between the database and the hosts. Corrections are made elsewhere."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from webxen.core import clock
from webxen.diagnostics import fleet_look
from webxen.inventory import queries
from webxen.recovery import after_restore
from webxen.web.decorators import person, staff_page


@require_safe
@staff_page
def differences(request: HttpRequest) -> HttpResponse:
    """Show the differences of all hosts, or with `host` those of one host, computed now."""
    now, name = clock.now(), request.GET.get("host", "")
    host = queries.get_visible_host_named(user=person(request), name=name) if name else None
    look = fleet_look.look_at(host=host, now=now) if host else fleet_look.look(now=now)
    return render(request, "web/verify.html", {"look": look, "host": host})


@require_POST
@staff_page
def restore_end(request: HttpRequest) -> HttpResponse:
    after_restore.confirm(staff=person(request), now=clock.now())
    messages.success(request, _("Jobs are sent again."))
    return redirect("differences")
