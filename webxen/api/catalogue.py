"""Catalogue API: images, sizes, networks; for staff also the hosts' pools."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.base import ApiView, PageQuery, StaffDoor
from webxen.api.serializers import PoolSerializer, page_of
from webxen.inventory import queries


class Images(ApiView):
    QuerySerializer = PageQuery

    class OutputSerializer(serializers.Serializer[Any]):
        id = serializers.UUIDField()
        slug = serializers.CharField()
        name = serializers.CharField()
        description = serializers.CharField(allow_blank=True)
        min_disk_mib = serializers.IntegerField()
        min_memory_mib = serializers.IntegerField()
        is_active = serializers.BooleanField()

    @extend_schema(operation_id="list_images", responses=page_of(OutputSerializer), tags=["catalogue"])
    def get(self, request: Request) -> Response:
        """The images machines are created from."""
        rows = queries.images_visible_to(user=self.user)
        return self.page(rows, self.OutputSerializer, order=("slug",))


class Sizes(ApiView):
    QuerySerializer = PageQuery

    class OutputSerializer(serializers.Serializer[Any]):
        id = serializers.UUIDField()
        slug = serializers.CharField()
        name = serializers.CharField()
        vcpus = serializers.IntegerField()
        memory_mib = serializers.IntegerField()
        disk_gib = serializers.IntegerField()

    @extend_schema(operation_id="list_sizes", responses=page_of(OutputSerializer), tags=["catalogue"])
    def get(self, request: Request) -> Response:
        """Named sizes, the smallest first."""
        rows = queries.sizes_visible_to(user=self.user)
        return self.page(rows, self.OutputSerializer, order=("memory_mib", "vcpus", "slug"))


class Networks(ApiView):
    QuerySerializer = PageQuery

    class OutputSerializer(serializers.Serializer[Any]):
        id = serializers.UUIDField()
        name = serializers.CharField()
        cidr = serializers.CharField()
        gateway = serializers.IPAddressField(allow_null=True)
        nameserver = serializers.IPAddressField(allow_null=True)

    @extend_schema(operation_id="list_networks", responses=page_of(OutputSerializer), tags=["catalogue"])
    def get(self, request: Request) -> Response:
        """The networks a machine can be connected to."""
        rows = queries.networks_visible_to(user=self.user)
        return self.page(rows, self.OutputSerializer, order=("name",))


class Pools(StaffDoor):
    QuerySerializer = PageQuery

    @extend_schema(operation_id="list_pools", responses=page_of(PoolSerializer), tags=["hosts"])
    def get(self, request: Request) -> Response:
        """Storage pools of the hosts."""
        return self.page(queries.pools_visible_to(user=self.user), PoolSerializer, order=("name", "id"))
