"""Pages of jobs: the list, one job, and its live part."""

from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from webxen.core import clock
from webxen.jobs import operations, queries
from webxen.jobs.models import Job
from webxen.web import steps, words
from webxen.web.doors import page, person, where_from

PER_PAGE = 50


def job_context(job: Job) -> dict[str, Any]:
    """What the job card and the boot bar show."""
    events = list(job.events.all())
    return {
        "job": job,
        "events": events,
        "is_open": job.status in Job.OPEN,
        "is_cancellable": job.cancel_asked_at is None and not queries.why_not_cancellable(job),
        "steps": steps.lay_out(
            kind=job.kind,
            status=job.status,
            events=events,
            finished_at=job.finished_at,
            now=clock.now(),
        ),
    }


@require_safe
@page
def jobs(request: HttpRequest) -> HttpResponse:
    found = queries.visible_to(user=person(request))
    status = request.GET.get("status", "")
    if status in words.JOB_STATUSES:
        found = found.filter(status=status)
    page_obj = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "jobs": page_obj.object_list,
        "page_obj": page_obj,
        "status": status,
        "statuses": [(code, look.word) for code, look in words.JOB_STATUSES.items()],
        "source": request.get_full_path(),
        "live": "jobs",
    }
    is_part = bool(request.headers.get("HX-Request"))
    return render(request, "web/parts/jobs_table.html" if is_part else "web/jobs.html", context)


@require_safe
@page
def job(request: HttpRequest, id: UUID) -> HttpResponse:
    context = job_context(queries.get_visible(user=person(request), id=id))
    return render(request, "web/job.html", context)


@require_safe
@page
def job_live(request: HttpRequest, id: UUID) -> HttpResponse:
    context = job_context(queries.get_visible(user=person(request), id=id))
    return render(request, "web/parts/job_page.html", context)


@require_POST
@page
def job_cancel(request: HttpRequest, id: UUID) -> HttpResponse:
    """Take a job back; the page it came from shows what becomes of it."""
    operations.cancel_job(user=person(request), job_id=id, now=clock.now())
    return redirect(where_from(request, reverse("job", args=[id])))
