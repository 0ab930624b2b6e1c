"""API of the own account and API tokens."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.accounts import operations, queries
from webxen.accounts.models import ApiToken, Membership
from webxen.api.base import ApiView, PageQuery
from webxen.api.fields import StrictText, TextOrNone
from webxen.api.serializers import page_of
from webxen.core import clock
from webxen.core.errors import NotFoundError
from webxen.quotas import queries as quotas
from webxen.quotas.models import Quota


class FigureSerializer(serializers.Serializer[Any]):
    used = serializers.IntegerField(help_text="Held by machines that exist.")
    reserved = serializers.IntegerField(help_text="Promised to machines being made.")
    limit = serializers.IntegerField()


class QuotaSerializer(serializers.Serializer[Any]):
    machines = FigureSerializer()
    vcpus = FigureSerializer()
    memory_mib = FigureSerializer()
    disk_gib = FigureSerializer()


class Me(ApiView):
    class OutputSerializer(serializers.Serializer[Any]):
        class ProjectSerializer(serializers.Serializer[Any]):
            id = serializers.UUIDField()
            slug = serializers.CharField()
            name = serializers.CharField()
            role = serializers.ChoiceField(choices=Membership.Role.choices)
            quota = QuotaSerializer(allow_null=True)

        class UsedTokenSerializer(serializers.Serializer[Any]):
            id = serializers.UUIDField()
            name = serializers.CharField()
            scopes = serializers.ListField(child=serializers.CharField())
            expires_at = serializers.DateTimeField(allow_null=True)

        username = serializers.CharField(help_text="By which people are named everywhere.")
        is_staff = serializers.BooleanField()
        projects = ProjectSerializer(many=True)
        token = UsedTokenSerializer(
            allow_null=True, help_text="What you asked with; null: a browser's session."
        )

    @extend_schema(operation_id="me", responses=OutputSerializer, tags=["people"])
    def get(self, request: Request) -> Response:
        """Your account, your projects, and their quotas."""
        seats = list(queries.seats_of(user=self.user))
        mine = quotas.visible_to(user=self.user).filter(project__in=[seat.project_id for seat in seats])
        by_project = {quota.project_id: quota for quota in mine}
        used = quotas.used_in(quota_ids=[quota.id for quota in by_project.values()])
        projects = [
            {
                "id": seat.project.id,
                "slug": seat.project.slug,
                "name": seat.project.name,
                "role": seat.role,
                "quota": _quota(by_project.get(seat.project.id), used),
            }
            for seat in seats
        ]
        user = self.user
        row = {
            "username": user.username,
            "is_staff": user.is_staff,
            "projects": projects,
            "token": self.token,
        }
        return self.one(row, self.OutputSerializer)


def _quota(quota: Quota | None, used_by_quota: dict[int, dict[str, int]]) -> dict[str, Any] | None:
    if quota is None:
        return None
    used = used_by_quota.get(quota.id, {})
    return {
        name: {
            "used": used.get(name, 0),
            "reserved": getattr(quota, f"{name}_reserved") - used.get(name, 0),
            "limit": getattr(quota, f"{name}_limit"),
        }
        for name in ("machines", "vcpus", "memory_mib", "disk_gib")
    }


class TokenSerializer(serializers.Serializer[ApiToken]):
    id = serializers.UUIDField()
    user = serializers.CharField(source="user.username")
    name = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    made_with = serializers.UUIDField(
        source="parent_id",
        allow_null=True,
        help_text="The token it was made with: it is revoked with that one.",
    )
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    last_address = TextOrNone(help_text="From where it was used last.")


class Tokens(ApiView):
    class QuerySerializer(PageQuery):
        user = StrictText(
            required=False, max_length=150, help_text="Of this person alone. Staff sees everybody's tokens."
        )

    class InputSerializer(serializers.Serializer[Any]):
        name = StrictText(max_length=80)
        scopes = serializers.ListField(
            child=StrictText(max_length=40),
            required=False,
            default=list,
            max_length=20,
            help_text="`read`: may look and nothing else. None: all that you may do.",
        )
        expires_at = serializers.DateTimeField(
            required=False,
            allow_null=True,
            default=None,
            help_text="Asked for with a token: at most when that one expires, which is also the default.",
        )

    class OutputSerializer(TokenSerializer):
        secret = serializers.CharField(help_text="Shown this once, kept nowhere.")

    @extend_schema(operation_id="list_tokens", responses=page_of(TokenSerializer), tags=["people"])
    def get(self, request: Request) -> Response:
        """Your tokens, or all tokens for staff, without their secrets."""
        found = queries.tokens_visible_to(user=self.user)
        if "user" in self.query:
            found = found.filter(user__username=self.query["user"])
        return self.page(found, TokenSerializer)

    @extend_schema(
        operation_id="create_token",
        request=InputSerializer,
        responses={201: OutputSerializer},
        tags=["people"],
    )
    def post(self, request: Request) -> Response:
        """Create a token; only this answer contains its secret.

        If the request itself uses a token, the new one has no wider scopes, expires no later, and is revoked
        with it.
        """
        wanted = self.body(self.InputSerializer)
        token, secret = operations.create_token(user=self.user, now=clock.now(), parent=self.token, **wanted)
        shown = {**TokenSerializer(token).data, "secret": secret}
        where = {"Location": self.address("token", token.id)}
        return Response(shown, status=status.HTTP_201_CREATED, headers=where)


class Token(ApiView):
    @extend_schema(operation_id="token", responses=TokenSerializer, tags=["people"])
    def get(self, request: Request, token_id: UUID) -> Response:
        """One token, without its secret."""
        token = queries.tokens_visible_to(user=self.user).filter(id=token_id).first()
        if token is None:
            raise NotFoundError
        return self.one(token, TokenSerializer)

    @extend_schema(operation_id="revoke_token", responses={204: None}, tags=["people"])
    def delete(self, request: Request, token_id: UUID) -> Response:
        """Revoke a token and those created with it; they stop authenticating at once. Staff may revoke
        any.
        """
        operations.revoke_token(user=self.user, token_id=token_id, now=clock.now())
        return Response(status=status.HTTP_204_NO_CONTENT)
