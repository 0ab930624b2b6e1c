"""API of a restored database: whether the portal waits for staff, and staff's confirmation."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.base import NoBody, StaffDoor
from webxen.api.fields import TextOrNone
from webxen.core import clock
from webxen.inventory import restores
from webxen.recovery import after_restore, readoption


class RestoreSerializer(serializers.Serializer[Any]):
    is_held = serializers.BooleanField(help_text="No orders are given until staff has looked.")
    since = serializers.DateTimeField(allow_null=True)
    why = TextOrNone(help_text="What shows that the database is older.")
    missing = serializers.ListField(
        child=serializers.UUIDField(), help_text="Machines that hosts have and the database has not."
    )


def _shown() -> dict[str, Any]:
    restore = restores.open_restore()
    return {
        "is_held": restore is not None,
        "since": restore.begun_at if restore else None,
        "why": restore.why if restore else "",
        "missing": readoption.missing(),
    }


class Restore(StaffDoor):
    @extend_schema(operation_id="get_restore", responses=RestoreSerializer, tags=["hosts"])
    def get(self, request: Request) -> Response:
        """Whether the database is older than the hosts (after a restore), and the machines it lacks."""
        return self.one(_shown(), RestoreSerializer)


class Looked(StaffDoor):
    @extend_schema(operation_id="end_restore", request=NoBody, responses=RestoreSerializer, tags=["hosts"])
    def post(self, request: Request) -> Response:
        """Confirm that the database was checked; orders are given again."""
        self.body(NoBody)
        after_restore.confirm(staff=self.user, now=clock.now())
        return self.one(_shown(), RestoreSerializer)
