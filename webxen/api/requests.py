"""API of requests for machines, and decisions on them."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.base import ApiView, NoBody, PageQuery
from webxen.api.fields import StrictFlag, StrictText, TextOrNone
from webxen.api.serializers import page_of
from webxen.approvals import operations, queries, requested_spec
from webxen.approvals.models import MachineRequest
from webxen.core import clock
from webxen.core.errors import InvalidError
from worker import contract


class RequestSerializer(serializers.Serializer[MachineRequest]):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=MachineRequest.Status.choices)
    why_pending = TextOrNone(help_text="Why it was not approved at once, as a sentence.")
    name = serializers.CharField()
    project = serializers.CharField(source="project.slug")
    requester = serializers.CharField(source="requester.username")
    image = serializers.CharField(source="image.slug")
    size = serializers.CharField(source="size.slug", allow_null=True)
    network = serializers.CharField(source="network.name", allow_null=True)
    vcpus = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    disk_gib = serializers.IntegerField()
    reason = serializers.CharField(allow_blank=True)
    decided_by = serializers.CharField(
        source="decided_by.username",
        allow_null=True,
        help_text="null with `decided_at`: the policy approved it.",
    )
    decided_at = serializers.DateTimeField(allow_null=True, help_text="null: not decided yet.")
    decision_reason = TextOrNone()
    machine = serializers.UUIDField(
        source="machine_id", allow_null=True, help_text="It may have been deleted since: then it is a 404."
    )
    job = serializers.UUIDField(source="job_id", allow_null=True)
    created_at = serializers.DateTimeField()


class WishSerializer(serializers.Serializer[Any]):
    """For the OpenAPI document only: approvals.requested_spec validates requests."""

    name = serializers.CharField(
        max_length=63, help_text="Letters a-z, digits and single hyphens; begins and ends without one."
    )
    project = serializers.CharField(
        required=False, help_text="Slug or id; may be left out if you have one project."
    )
    image = serializers.CharField(help_text="Slug or id.")
    size = serializers.CharField(required=False, help_text="Slug or id; or give the three figures.")
    vcpus = serializers.IntegerField(required=False)
    memory_mib = serializers.IntegerField(required=False)
    disk_gib = serializers.IntegerField(required=False)
    network = serializers.CharField(required=False, help_text="Name or id.")
    ssh_keys = serializers.ListField(child=serializers.CharField(), required=False, max_length=20)
    password = serializers.CharField(required=False, help_text="Only its hash is kept.")
    user_data = serializers.CharField(required=False, help_text="cloud-init, at most 16 KiB.")
    reason = serializers.CharField(required=False)
    if_over_quota = serializers.ChoiceField(
        choices=("ask", "refuse"),
        required=False,
        help_text="Over the quota: `ask` staff (the request waits), or `refuse` at once with QUOTA_EXCEEDED.",
    )


class Requests(ApiView):
    class QuerySerializer(PageQuery):
        status = serializers.ChoiceField(choices=MachineRequest.Status.choices, required=False)

    @extend_schema(operation_id="list_requests", responses=page_of(RequestSerializer), tags=["requests"])
    def get(self, request: Request) -> Response:
        """Requests of your projects, newest first; staff sees all."""
        rows = queries.visible_to(user=self.user)
        if wanted := self.query.get("status"):
            rows = rows.filter(status=wanted)
        return self.page(rows, RequestSerializer)

    @extend_schema(
        operation_id="create_request",
        request=WishSerializer,
        responses={201: RequestSerializer},
        tags=["requests"],
    )
    def post(self, request: Request) -> Response:
        """Request a machine. Within quota and policy it is approved in this answer."""
        untrusted_wish = request.data
        if not isinstance(untrusted_wish, dict):
            raise InvalidError("Send a JSON object.")
        wish = requested_spec.parse(untrusted=untrusted_wish, user=self.user)
        made = operations.submit(user=self.user, wish=wish, now=clock.now())
        response = self.one(made, RequestSerializer, status=status.HTTP_201_CREATED)
        response["Location"] = self.address("request", made.id)
        return response


class OneRequest(ApiView):
    @extend_schema(operation_id="get_request", responses=RequestSerializer, tags=["requests"])
    def get(self, request: Request, request_id: UUID) -> Response:
        """One request."""
        return self.one(queries.get_visible(user=self.user, id=request_id), RequestSerializer)


class Approve(ApiView):
    class InputSerializer(serializers.Serializer[Any]):
        host = StrictText(required=False, allow_null=True, default=None, max_length=contract.MAX_HOST_NAME)
        raise_quota = StrictFlag(required=False, default=False)

    @extend_schema(
        operation_id="approve_request",
        request=InputSerializer,
        responses={202: RequestSerializer},
        tags=["requests"],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        """Approve a request (staff). `host`: the host to use; by default the portal chooses."""
        given = self.body(self.InputSerializer)
        done = operations.approve(
            staff=self.user,
            request_id=request_id,
            host_name=given["host"],
            raise_quota=given["raise_quota"],
            now=clock.now(),
        )
        response = self.one(done, RequestSerializer, status=status.HTTP_202_ACCEPTED)
        response["Location"] = self.address("job", done.job_id)
        return response


class Reject(ApiView):
    class InputSerializer(serializers.Serializer[Any]):
        reason = StrictText(max_length=2000)

    @extend_schema(
        operation_id="reject_request",
        request=InputSerializer,
        responses=RequestSerializer,
        tags=["requests"],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        """Reject a request, with a reason (staff)."""
        given = self.body(self.InputSerializer)
        done = operations.reject(
            staff=self.user, request_id=request_id, reason=given["reason"], now=clock.now()
        )
        return self.one(done, RequestSerializer)


class Withdraw(ApiView):
    @extend_schema(
        operation_id="withdraw_request", request=NoBody, responses=RequestSerializer, tags=["requests"]
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        """Withdraw your own request."""
        self.body(NoBody)
        done = operations.withdraw(user=self.user, request_id=request_id, now=clock.now())
        return self.one(done, RequestSerializer)
