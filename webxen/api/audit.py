"""Who did what to what: one's own lines, and for staff all of them."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.doors import Door, PageQuery
from webxen.api.shapes import page_of
from webxen.core import queries


class Audit(Door):
    QuerySerializer = PageQuery

    class OutputSerializer(serializers.Serializer[Any]):
        at = serializers.DateTimeField()
        actor = serializers.CharField(
            source="actor.username", allow_null=True, help_text="null: a policy, or the portal itself."
        )
        policy = serializers.CharField(
            allow_blank=True, help_text="The policy that acted in a person's stead, such as BALANCE."
        )
        action = serializers.CharField()
        target_kind = serializers.CharField()
        target_id = serializers.CharField()
        target_name = serializers.CharField(allow_blank=True)
        detail = serializers.CharField(allow_blank=True)

    @extend_schema(operation_id="list_audit", responses=page_of(OutputSerializer), tags=["people"])
    def get(self, request: Request) -> Response:
        """The audit, the newest first."""
        return self.page(queries.audit_visible_to(user=self.user), self.OutputSerializer, order=("-id",))
