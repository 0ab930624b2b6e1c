"""Staff's page of what differs between the database and the hosts. It shows; mending is done elsewhere."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from webxen.core import clock
from webxen.jobs.verify import verify
from webxen.web.doors import staff_page


@require_safe
@staff_page
def differences(request: HttpRequest) -> HttpResponse:
    verdict = verify(host=None, fixed_by=None, now=clock.now())
    # a domain that nobody knows has no page
    known = {machine.id for machine in verdict.picture.machines if not machine.is_deleted}
    return render(request, "web/verify.html", {"verdict": verdict, "known": known})
