"""Staff's page of what differs between the database and the hosts. It shows; mending is done elsewhere."""

from dataclasses import dataclass
from itertools import groupby

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from webxen.core import clock
from webxen.diagnostics.findings import Finding
from webxen.diagnostics.verify import verify
from webxen.recovery import after_restore
from webxen.web.decorators import person, staff_page

#: findings of one kind on the page: who has more has one cause, and `manage.py verify` lists them all
SHOWN = 50


@dataclass(frozen=True)
class Group:
    """Findings of one kind, as far as they are shown."""

    code: str
    shown: list[Finding]
    left_out: int


@require_safe
@staff_page
def differences(request: HttpRequest) -> HttpResponse:
    verdict = verify(host=None, fixed_by=None, now=clock.now())
    groups = [_group(code, list(found)) for code, found in groupby(verdict.findings, lambda one: one.code)]
    named = {finding.machine_id for group in groups for finding in group.shown}
    # a domain that nobody knows has no page
    known = {one.id for one in verdict.picture.machines if one.id in named and not one.is_deleted}
    return render(request, "web/verify.html", {"verdict": verdict, "groups": groups, "known": known})


@require_POST
@staff_page
def restore_end(request: HttpRequest) -> HttpResponse:
    after_restore.confirm(staff=person(request), now=clock.now())
    messages.success(request, _("Orders are given again."))
    return redirect("differences")


def _group(code: str, found: list[Finding]) -> Group:
    return Group(code, found[:SHOWN], max(len(found) - SHOWN, 0))
