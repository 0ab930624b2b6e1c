"""API of the portal's version."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.base import ApiView
from webxen.api.fields import TextOrNone
from webxen.core.version import portal_version
from worker import contract

#: increases when something is removed or changes its meaning; the URL then has the new number
API_VERSION = 1


class Version(ApiView):
    class OutputSerializer(serializers.Serializer[Any]):
        portal = TextOrNone(help_text="The portal's release; null: it runs from a folder.")
        api = serializers.IntegerField(help_text="The number in the addresses: /api/v1/.")
        oldest_worker = serializers.IntegerField(
            help_text="The oldest version of the contract with workers that this portal understands."
        )

    @extend_schema(operation_id="version", responses=OutputSerializer, tags=["version"])
    def get(self, request: Request) -> Response:
        """The portal's release, its API version, and the oldest supported worker."""
        row = {
            "portal": portal_version(),
            "api": API_VERSION,
            "oldest_worker": contract.PROTOCOL_VERSION,
        }
        return self.one(row, self.OutputSerializer)
