"""Jobs API: list, follow and cancel jobs."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.base import ApiView, NoBody, PageQuery
from webxen.api.serializers import JobEventSerializer, JobSerializer, page_of
from webxen.core import clock, held_reads
from webxen.jobs import operations, queries
from webxen.jobs.models import Job


class Jobs(ApiView):
    class QuerySerializer(PageQuery):
        machine = serializers.UUIDField(required=False)
        status = serializers.ChoiceField(
            choices=Job.Status.choices,
            required=False,
            help_text="FAILED lists ERROR, too.",
        )

    @extend_schema(operation_id="list_jobs", responses=page_of(JobSerializer), tags=["jobs"])
    def get(self, request: Request) -> Response:
        """Jobs of the machines you may see, newest first."""
        rows = queries.visible_to(user=self.user)
        if machine := self.query.get("machine"):
            rows = rows.filter(machine_id=machine)
        if wanted := self.query.get("status"):
            rows = queries.of_status(rows, wanted)
        return self.page(rows, JobSerializer)


class OneJob(ApiView):
    class QuerySerializer(serializers.Serializer[Any]):
        wait = serializers.IntegerField(
            required=False,
            min_value=0,
            max_value=int(queries.MAX_WAIT_SECONDS),
            help_text="Hold the answer until the job ends, at most this many seconds.",
        )

    @extend_schema(operation_id="get_job", responses=JobSerializer, tags=["jobs"])
    def get(self, request: Request, job_id: UUID) -> Response:
        """One job. With `wait`, the answer is delayed until it has ended or the time is up."""
        job = queries.get_visible(user=self.user, id=job_id)
        response = self.one(job, JobSerializer)
        seconds = self.query.get("wait", 0)
        if seconds and job.status in Job.OPEN and not held_reads.has_waited(request.META):
            hold = held_reads.Hold(self.user.pk, job.id, seconds, queries.still_open)
            setattr(response, held_reads.HOLD, hold)
        return response


class CancelJob(ApiView):
    @extend_schema(operation_id="cancel_job", request=NoBody, responses={202: JobSerializer}, tags=["jobs"])
    def post(self, request: Request, job_id: UUID) -> Response:
        """Cancel a job. It ends as CANCELLED once its host has undone what it had made."""
        self.body(NoBody)
        return self.accepted(operations.cancel_job(user=self.user, job_id=job_id, now=clock.now()))


class JobEvents(ApiView):
    QuerySerializer = PageQuery

    @extend_schema(operation_id="list_job_events", responses=page_of(JobEventSerializer), tags=["jobs"])
    def get(self, request: Request, job_id: UUID) -> Response:
        """The events of a job, oldest first."""
        job = queries.get_visible(user=self.user, id=job_id)
        return self.page(job.events.all(), JobEventSerializer, order=("id",))
