"""Staff's page of what differs between the database and the hosts. It shows; mending is done elsewhere."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from webxen.core import clock
from webxen.jobs import after_restore
from webxen.jobs.verify import verify
from webxen.web.doors import person, staff_page


@require_safe
@staff_page
def differences(request: HttpRequest) -> HttpResponse:
    verdict = verify(host=None, fixed_by=None, now=clock.now())
    # a domain that nobody knows has no page
    known = {machine.id for machine in verdict.picture.machines if not machine.is_deleted}
    return render(request, "web/verify.html", {"verdict": verdict, "known": known})


@require_POST
@staff_page
def restore_end(request: HttpRequest) -> HttpResponse:
    after_restore.confirm(staff=person(request), now=clock.now())
    messages.success(request, _("Orders are given again."))
    return redirect("differences")
