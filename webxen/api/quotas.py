"""Quotas API, and requests for higher limits."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.base import ApiView, NoBody, PageQuery
from webxen.api.fields import StrictNumber, StrictText, TextOrNone
from webxen.api.serializers import page_of
from webxen.approvals import operations, queries, quota_increase
from webxen.approvals.models import QuotaRequest
from webxen.core import clock
from webxen.core.errors import InvalidError
from webxen.core.messages import Message
from webxen.quotas import operations as quotas
from webxen.quotas import queries as quota_queries
from webxen.quotas.models import Quota
from webxen.quotas.shortage import Figures, RunningLimit


class HeldSerializer(serializers.Serializer[Any]):
    limit = serializers.IntegerField(allow_null=True, help_text="null: not limited apart.")
    used = serializers.IntegerField(help_text="Held by machines that exist.")
    reserved = serializers.IntegerField(help_text="Promised to machines being made, as in `me/`.")
    overdraft = serializers.IntegerField(help_text="How far both together stand above `limit`.")


class ProjectQuotaSerializer(serializers.Serializer[Quota]):
    project = serializers.CharField(source="project.slug")
    project_id = serializers.UUIDField()
    machines = HeldSerializer()
    vcpus = HeldSerializer()
    memory_mib = HeldSerializer()
    disk_gib = HeldSerializer()
    running_vcpus = HeldSerializer()
    running_memory_mib = HeldSerializer()

    def to_representation(self, instance: Quota) -> dict[str, Any]:
        used = self.context["used"].get(instance.id, {})
        held = {
            name: {
                "limit": getattr(instance, f"{name}_limit"),
                "used": used.get(name, 0),
                "reserved": getattr(instance, f"{name}_reserved") - used.get(name, 0),
                "overdraft": getattr(instance, f"{name}_overdraft"),
            }
            for name in quota_increase.HIGHEST
        }
        return {"project": instance.project.slug, "project_id": str(instance.project_id), **held}


def _limit(name: str, **more_of: Any) -> StrictNumber:
    return StrictNumber(min_value=0, max_value=quota_increase.HIGHEST[name], **more_of)


class LimitsSerializer(serializers.Serializer[Any]):
    machines = _limit("machines")
    vcpus = _limit("vcpus")
    memory_mib = _limit("memory_mib")
    disk_gib = _limit("disk_gib")
    running_vcpus = _limit("running_vcpus", required=False, allow_null=True, default=None)
    running_memory_mib = _limit("running_memory_mib", required=False, allow_null=True, default=None)


class QuotaDoor(ApiView):
    def context(self, rows: Sequence[Any]) -> dict[str, Any]:
        return {"used": quota_queries.used_in(quota_ids=[row.id for row in rows])}


class Quotas(QuotaDoor):
    QuerySerializer = PageQuery

    @extend_schema(operation_id="list_quotas", responses=page_of(ProjectQuotaSerializer), tags=["quotas"])
    def get(self, request: Request) -> Response:
        """Quotas of your projects; staff sees all."""
        return self.page(quota_queries.visible_to(user=self.user), ProjectQuotaSerializer, order=("id",))


class OneQuota(QuotaDoor):
    @extend_schema(operation_id="get_quota", responses=ProjectQuotaSerializer, tags=["quotas"])
    def get(self, request: Request, project_id: UUID) -> Response:
        """A project's limits and what it holds."""
        return self.one(
            quota_queries.get_visible(user=self.user, project_id=project_id), ProjectQuotaSerializer
        )

    @extend_schema(
        operation_id="set_quota", request=LimitsSerializer, responses=ProjectQuotaSerializer, tags=["quotas"]
    )
    def put(self, request: Request, project_id: UUID) -> Response:
        """Set a project's limits (staff). They may be below what it holds: nothing is stopped, nothing is
        added.
        """
        given = self.body(LimitsSerializer)
        quota = quota_queries.get_visible(user=self.user, project_id=project_id)
        done = quotas.set_limits(
            project=quota.project,
            limits=Figures(given["machines"], given["vcpus"], given["memory_mib"], given["disk_gib"]),
            running=RunningLimit(given["running_vcpus"], given["running_memory_mib"]),
            staff=self.user,
            now=clock.now(),
        )
        return self.one(done, ProjectQuotaSerializer)


class QuotaRequestSerializer(serializers.Serializer[QuotaRequest]):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=QuotaRequest.Status.choices)
    version = serializers.IntegerField(help_text="What `approve` must name: grows with every change.")
    project = serializers.CharField(source="project.slug")
    requester = serializers.CharField(source="requester.username")
    machines = serializers.IntegerField()
    vcpus = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    disk_gib = serializers.IntegerField()
    running_vcpus = serializers.IntegerField(allow_null=True)
    running_memory_mib = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField()
    decided_by = serializers.CharField(source="decided_by.username", allow_null=True)
    decided_at = serializers.DateTimeField(allow_null=True, help_text="null: not decided yet.")
    decision_reason = TextOrNone()
    created_at = serializers.DateTimeField()


class MoreSerializer(serializers.Serializer[Any]):
    """For the OpenAPI document only: approvals.quota_increase validates requests."""

    reason = serializers.CharField(max_length=2000)
    machines = serializers.IntegerField(required=False, help_text="The whole limit; left out: as it is.")
    vcpus = serializers.IntegerField(required=False)
    memory_mib = serializers.IntegerField(required=False)
    disk_gib = serializers.IntegerField(required=False)
    running_vcpus = serializers.IntegerField(required=False)
    running_memory_mib = serializers.IntegerField(required=False)


class AskSerializer(MoreSerializer):
    project = serializers.CharField(
        required=False, help_text="Slug or id; may be left out if you have one project."
    )


class QuotaRequests(ApiView):
    class QuerySerializer(PageQuery):
        status = serializers.ChoiceField(choices=QuotaRequest.Status.choices, required=False)

    @extend_schema(
        operation_id="list_quota_requests", responses=page_of(QuotaRequestSerializer), tags=["quotas"]
    )
    def get(self, request: Request) -> Response:
        """Requests for quota of your projects, newest first; staff sees all."""
        rows = queries.quota_requests_visible_to(user=self.user)
        if wanted := self.query.get("status"):
            rows = rows.filter(status=wanted)
        return self.page(rows, QuotaRequestSerializer)

    @extend_schema(
        operation_id="create_quota_request",
        request=AskSerializer,
        responses={201: QuotaRequestSerializer},
        tags=["quotas"],
    )
    def post(self, request: Request) -> Response:
        """Request higher limits: complete limits, not increments."""
        wish = quota_increase.parse(untrusted=_object(request.data), user=self.user)
        made = operations.ask_for_quota(user=self.user, wish=wish, now=clock.now())
        response = self.one(made, QuotaRequestSerializer, status=status.HTTP_201_CREATED)
        response["Location"] = self.address("quota-request", made.id)
        return response


class OneQuotaRequest(ApiView):
    @extend_schema(operation_id="get_quota_request", responses=QuotaRequestSerializer, tags=["quotas"])
    def get(self, request: Request, request_id: UUID) -> Response:
        """One request for quota."""
        return self.one(queries.get_quota_request(user=self.user, id=request_id), QuotaRequestSerializer)

    @extend_schema(
        operation_id="change_quota_request",
        request=MoreSerializer,
        responses=QuotaRequestSerializer,
        tags=["quotas"],
    )
    def put(self, request: Request, request_id: UUID) -> Response:
        """Change your pending request."""
        was = queries.get_quota_request(user=self.user, id=request_id)
        wish = quota_increase.parse(untrusted=_object(request.data), user=self.user, project=was.project)
        done = operations.change_quota_request(
            user=self.user, request_id=request_id, wish=wish, now=clock.now()
        )
        return self.one(done, QuotaRequestSerializer)


class ApproveQuota(ApiView):
    class InputSerializer(serializers.Serializer[Any]):
        version = StrictNumber(min_value=1, max_value=2**31 - 1, help_text="The version you looked at.")

    @extend_schema(
        operation_id="approve_quota_request",
        request=InputSerializer,
        responses=QuotaRequestSerializer,
        tags=["quotas"],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        """Grant exactly what the request says (staff other than the requester)."""
        given = self.body(self.InputSerializer)
        done = operations.approve_quota(
            staff=self.user, request_id=request_id, version=given["version"], now=clock.now()
        )
        return self.one(done, QuotaRequestSerializer)


class RejectQuota(ApiView):
    class InputSerializer(serializers.Serializer[Any]):
        reason = StrictText(max_length=2000)

    @extend_schema(
        operation_id="reject_quota_request",
        request=InputSerializer,
        responses=QuotaRequestSerializer,
        tags=["quotas"],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        """Reject a request, with a reason (staff)."""
        given = self.body(self.InputSerializer)
        done = operations.reject_quota(
            staff=self.user, request_id=request_id, reason=given["reason"], now=clock.now()
        )
        return self.one(done, QuotaRequestSerializer)


class WithdrawQuota(ApiView):
    @extend_schema(
        operation_id="withdraw_quota_request",
        request=NoBody,
        responses=QuotaRequestSerializer,
        tags=["quotas"],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        """Withdraw your own request."""
        self.body(NoBody)
        done = operations.withdraw_quota(user=self.user, request_id=request_id, now=clock.now())
        return self.one(done, QuotaRequestSerializer)


def _object(untrusted: Any) -> dict[str, object]:
    if not isinstance(untrusted, dict):
        raise InvalidError(Message("SEND_OBJECT"))
    return untrusted
