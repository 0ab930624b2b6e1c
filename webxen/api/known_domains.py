"""API for foreign domains on a host that staff marks as known."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.base import NoBody, PageQuery
from webxen.api.hosts import HostDoor
from webxen.api.serializers import page_of
from webxen.core import clock
from webxen.machines import foreign_domains


class KnownDomainSerializer(serializers.Serializer[Any]):
    uuid = serializers.UUIDField()
    name = serializers.CharField(allow_blank=True, help_text="What it was called when it was noted.")
    noted_by = serializers.CharField(source="noted_by.username")
    noted_at = serializers.DateTimeField()


class KnownDomains(HostDoor):
    QuerySerializer = PageQuery

    @extend_schema(
        operation_id="list_known_domains", responses=page_of(KnownDomainSerializer), tags=["hosts"]
    )
    def get(self, request: Request, host: str) -> Response:
        """Domains on this host that are not the portal's machines and that staff marked as known."""
        known = foreign_domains.known_on(staff=self.user, host_id=self.host_id(host))
        return self.page(known, KnownDomainSerializer, order=("noted_at", "id"))


class KnownDomain(HostDoor):
    @extend_schema(
        operation_id="leave_domain_alone", request=NoBody, responses=KnownDomainSerializer, tags=["hosts"]
    )
    def put(self, request: Request, host: str, uuid: UUID) -> Response:
        """Mark this domain as known, so that `verify` does not report it. The domain is not changed."""
        self.body(NoBody)
        noted = foreign_domains.leave_alone(
            staff=self.user, host_id=self.host_id(host), uuid=uuid, now=clock.now()
        )
        return self.one(noted, KnownDomainSerializer)

    @extend_schema(operation_id="watch_domain_again", responses={204: None}, tags=["hosts"])
    def delete(self, request: Request, host: str, uuid: UUID) -> Response:
        """Remove the mark, so that `verify` reports this domain again."""
        foreign_domains.watch_again(staff=self.user, host_id=self.host_id(host), uuid=uuid, now=clock.now())
        return Response(status=status.HTTP_204_NO_CONTENT)
