"""Pages of jobs: the list, one job, and its live part."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from webxen.core import clock
from webxen.jobs import operations, queries
from webxen.jobs.models import Job
from webxen.migration import evidence, kept_disks
from webxen.migration import operations as migration
from webxen.migration.models import Move
from webxen.web import steps, words
from webxen.web.decorators import page, person
from webxen.web.paging import LongList
from webxen.web.referer import where_from

PER_PAGE = 50


def job_context(job: Job, *, is_staff: bool = False) -> dict[str, Any]:
    """Context of the job card and the progress steps."""
    events = list(job.events.all())
    move = job.move if job.kind == Job.Kind.MIGRATE else None
    return {
        **(move_context(job, is_staff=is_staff) if job.kind == Job.Kind.MIGRATE else {}),
        "off_seconds": steps.off_seconds(events),
        "job": job,
        "events": events,
        "shown_events": steps.without_waits_that_were_none(events),
        "is_open": job.status in Job.OPEN,
        "is_cancellable": job.cancel_asked_at is None and not queries.why_not_cancellable(job),
        "steps": steps.lay_out(
            kind=job.kind,
            status=job.status,
            events=events,
            finished_at=job.finished_at,
            now=clock.now(),
            is_unanswered=job.error_code == operations.NoAnswerError.code,
            method=move.method if move else "",
            restarts=bool(move and move.restarts),
        ),
        "cleaning": steps.cleaning(status=job.status, events=events),
    }


def move_context(job: Job, *, is_staff: bool) -> dict[str, Any]:
    """Progress of a migration; for staff also the hosts' evidence while it is not settled."""
    move = job.move
    is_shown = is_staff and move.phase in (Move.Phase.UNKNOWN, Move.Phase.SETTLING)
    return {
        "move": evidence.gauge(move=move),
        "evidence": evidence.evidence(move=move, now=clock.now()) if is_shown else [],
    }


@require_safe
@page
def jobs(request: HttpRequest) -> HttpResponse:
    found = queries.visible_to(user=person(request))
    status = request.GET.get("status", "")
    if status in words.JOB_STATUSES:
        found = queries.of_status(found, status)
    page_obj = LongList(found, PER_PAGE).get_page(request.GET.get("page"))
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
    return render(request, "web/job.html", _context(request, id))


@require_safe
@page
def job_live(request: HttpRequest, id: UUID) -> HttpResponse:
    return render(request, "web/parts/job_page.html", _context(request, id))


def _context(request: HttpRequest, id: UUID) -> dict[str, Any]:
    user = person(request)
    return job_context(queries.get_visible(user=user, id=id), is_staff=user.is_staff)


@require_POST
@page
def job_cancel(request: HttpRequest, id: UUID) -> HttpResponse:
    """Cancel a job and return to the previous page."""
    operations.cancel_job(user=person(request), job_id=id, now=clock.now())
    return redirect(where_from(request, reverse("job", args=[id])))


@require_POST
@page
def job_discard_source_disks(request: HttpRequest, id: UUID) -> HttpResponse:
    """Delete the disks that the source of a cold migration still keeps."""
    kept_disks.let_go(user=person(request), job_id=id, now=clock.now())
    return redirect(where_from(request, reverse("job", args=[id])))


@require_POST
@page
def job_recheck(request: HttpRequest, id: UUID) -> HttpResponse:
    """Ask both hosts of a migration again and return to the previous page."""
    migration.recheck(user=person(request), job_id=id, now=clock.now())
    return redirect(where_from(request, reverse("job", args=[id])))
