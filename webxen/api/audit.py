"""Audit API: users get their own entries, staff all of them."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.base import ApiView, PageQuery
from webxen.api.fields import StrictText, TextOrNone
from webxen.api.serializers import page_of
from webxen.core import queries


class Audit(ApiView):
    class QuerySerializer(PageQuery):
        actor = StrictText(required=False, max_length=150, help_text="A user name.")
        action = StrictText(required=False, max_length=64, help_text="Such as OPEN_CONSOLE.")
        target = StrictText(required=False, max_length=64, help_text="The id of what it was done to.")
        token = serializers.UUIDField(required=False, help_text="The id of the token it was done with.")
        request_id = StrictText(required=False, max_length=64, help_text="The X-Request-Id it was done in.")
        address = StrictText(required=False, max_length=45, help_text="The client's address.")
        since = serializers.DateTimeField(required=False, help_text="Not before this time.")
        before = serializers.DateTimeField(required=False, help_text="Before this time.")

    class OutputSerializer(serializers.Serializer[Any]):
        at = serializers.DateTimeField()
        actor = serializers.CharField(
            source="actor.username",
            allow_null=True,
            help_text="null: a policy, the command line, or the portal itself.",
        )
        policy = TextOrNone(
            help_text="The policy that acted in a person's stead, such as BALANCE, or COMMAND_LINE."
        )
        action = serializers.CharField()
        target_kind = serializers.CharField()
        target_id = serializers.CharField()
        target_name = TextOrNone()
        detail = TextOrNone(help_text="In English.")
        reason = TextOrNone(source="detail.code", help_text="What `detail` says, as a code.")
        params = serializers.DictField(source="detail.params", help_text="What is put into that sentence.")
        token = serializers.UUIDField(
            source="token_id",
            allow_null=True,
            help_text="The token it was done with; null: a session, or none.",
        )
        address = TextOrNone(help_text="The client's address.")
        request_id = TextOrNone(help_text="Its X-Request-Id, as in the logs.")

    @extend_schema(operation_id="list_audit", responses=page_of(OutputSerializer), tags=["people"])
    def get(self, request: Request) -> Response:
        """The audit, newest first."""
        wanted = {name: self.query[name] for name in queries.AUDIT_FILTERS if name in self.query}
        found = queries.audit_visible_to(user=self.user, **wanted)
        return self.page(found, self.OutputSerializer, order=("-id",))
