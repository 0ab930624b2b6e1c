"""The start page: the user's machines and quota, or staff's overview."""

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from webxen.accounts import queries as accounts
from webxen.accounts.models import User
from webxen.approvals import queries as approvals
from webxen.core import clock
from webxen.core import queries as core
from webxen.inventory import queries as inventory
from webxen.jobs import queries as jobs
from webxen.jobs.models import Job
from webxen.machines import queries as machines
from webxen.quotas import queries as quotas
from webxen.web.decorators import page, person
from webxen.web.hosts import NOT_LISTED, bar_of
from webxen.web.machines import with_open_jobs
from webxen.web.meters import quota_meters

CARDS = 12
LINES = 6
#: older failures are in the list of jobs
FAILED_SHOWN = timedelta(days=7)
#: number of hosts whose memory is shown, lowest free share first
BARS = 20


@require_safe
@page
def home(request: HttpRequest) -> HttpResponse:
    user = person(request)
    return _staff_home(request, user) if user.is_staff else _own_home(request, user)


def _own_home(request: HttpRequest, user: User) -> HttpResponse:
    ids = machines.mine_first(user=user, most=CARDS + 1)
    found = with_open_jobs(machines.visible_to(user=user), user).in_bulk(ids[:CARDS])
    context = {
        "machines": [found[one] for one in ids[:CARDS] if one in found],
        "more_machines": len(ids) > CARDS,
        "quotas": [
            (project, quota_meters(headroom=quotas.headroom(project=project)))
            for project in accounts.projects_of(user=user)
        ],
        "waiting": approvals.waiting(user=user)[:LINES],
        "jobs": jobs.visible_to(user=user)[:LINES],
    }
    is_part = bool(request.headers.get("HX-Request"))
    return render(request, "web/parts/home_live.html" if is_part else "web/home.html", context)


def _staff_home(request: HttpRequest, user: User) -> HttpResponse:
    now = clock.now()
    all_machines, all_jobs = machines.visible_to(user=user), jobs.visible_to(user=user)
    waiting, for_quota = approvals.waiting(user=user), approvals.waiting_for_quota(user=user)
    failed = all_jobs.filter(status__in=Job.ENDED_BADLY, finished_at__gte=now - FAILED_SHOWN)
    all_hosts = inventory.hosts_visible_to(user=user)
    fullest = all_hosts.defer(*NOT_LISTED).order_by(inventory.SHARE_FREE, "name")[:BARS]
    running = all_machines.filter(power="RUNNING").count()
    total, asked, bad = all_machines.count(), waiting.count() + for_quota.count(), failed.count()
    to_machines, to_jobs = reverse("machines"), reverse("jobs")
    context = {
        "counts": (
            (ngettext("machine", "machines", total), total, "server", "blue", to_machines),
            (_("running"), running, "player-play", "green", f"{to_machines}?power=RUNNING"),
            (_("waiting for you"), asked, "checklist", "yellow", reverse("approvals")),
            (
                ngettext("failed job in 7 days", "failed jobs in 7 days", bad),
                bad,
                "circle-x",
                "red",
                f"{to_jobs}?status=FAILED",
            ),
        ),
        "hosts": [bar_of(host, now) for host in fullest],
        "more_hosts": max(all_hosts.count() - BARS, 0),
        "waiting": waiting[:LINES],
        "waiting_for_quota": for_quota[:LINES],
        "failed": failed[:LINES],
        "entries": core.audit_visible_to(user=user)[:LINES],
    }
    is_part = bool(request.headers.get("HX-Request"))
    return render(request, "web/parts/home_staff_live.html" if is_part else "web/home_staff.html", context)
