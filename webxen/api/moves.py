"""Migration API, for staff: possible targets, the migration itself, and its settling."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.base import ApiView, NoBody
from webxen.api.fields import StrictFlag, StrictNumber, StrictText, TextOrNone, open_list
from webxen.api.serializers import JobSerializer
from webxen.core import clock
from webxen.migration import kept_disks, preview
from webxen.migration import operations as migration
from webxen.migration.models import Move
from worker import contract


class FitSerializer(serializers.Serializer[Any]):
    host = serializers.CharField()
    fits = serializers.BooleanField()
    is_choice = serializers.BooleanField(help_text="Placement takes this one where no host is named.")
    method = serializers.CharField(help_text=open_list(Move.Method.values))
    method_why = TextOrNone(help_text="Why it cannot move while it runs.")
    reasons = serializers.ListField(child=serializers.CharField(), help_text="What is in the way.")
    warnings = serializers.ListField(child=serializers.CharField())
    is_one_way = serializers.BooleanField(help_text="As far as is known it could not move back.")
    expected_seconds = serializers.FloatField()
    away_seconds = serializers.FloatField(help_text="Seconds for which the machine is paused or off.")
    needs_shutdown = serializers.BooleanField(help_text="It runs, and would be shut down for this.")


class Migrate(ApiView):
    class QuerySerializer(serializers.Serializer[Any]):
        one_way = serializers.BooleanField(
            required=False, default=False, help_text="Judge as if a move without a way back were fine."
        )

    class InputSerializer(serializers.Serializer[Any]):
        host = StrictText(
            required=False,
            allow_null=True,
            max_length=contract.MAX_HOST_NAME,
            help_text="null: placement chooses.",
        )
        method = serializers.ChoiceField(
            choices=["AUTO", *Move.Method.values],
            required=False,
            help_text="COLD: a machine that runs is shut down, its disks copied, and it is started there.",
        )
        live = StrictFlag(required=False, help_text="true: LIVE, false: SUSPENDED; instead of `method`.")
        one_way = StrictFlag(required=False, default=False, help_text="Fine if it cannot move back.")
        rate_mib_s = StrictNumber(required=False, min_value=0, max_value=100_000, help_text="0: no limit.")

        def validate(self, given: dict[str, Any]) -> dict[str, Any]:
            if "live" in given and "method" in given:
                raise serializers.ValidationError({"live": ["Give either `method` or `live`."]})
            return given

    class OutputSerializer(serializers.Serializer[Any]):
        why_not = TextOrNone(help_text="Why it cannot move anywhere just now.")
        hosts = FitSerializer(many=True)
        hosts_left_out = serializers.IntegerField(help_text="Not looked at: very many hosts, and less room.")

    @extend_schema(operation_id="plan_migration", responses=OutputSerializer, tags=["machines"])
    def get(self, request: Request, machine_id: UUID) -> Response:
        """All hosts as possible targets, with everything that prevents the migration."""
        plan = preview.plan_for(
            user=self.user, machine_id=machine_id, one_way_is_fine=self.query["one_way"], now=clock.now()
        )
        return self.one(plan, self.OutputSerializer)

    @extend_schema(
        operation_id="migrate_machine",
        request=InputSerializer,
        responses={202: JobSerializer},
        tags=["machines"],
    )
    def post(self, request: Request, machine_id: UUID) -> Response:
        """Migrate it to another host. The job's `migration` shows the progress."""
        wanted = self.body(self.InputSerializer)
        method = wanted.get("method", "AUTO")
        if "live" in wanted:
            method = Move.Method.LIVE if wanted["live"] else Move.Method.SUSPENDED
        job = migration.migrate_machine(
            user=self.user,
            machine_id=machine_id,
            host_name=wanted.get("host"),
            method=method,
            one_way_is_fine=wanted["one_way"],
            rate_mib_s=wanted.get("rate_mib_s"),
            now=clock.now(),
        )
        return self.accepted(job)


class DiscardSourceDisks(ApiView):
    @extend_schema(operation_id="let_disks_go", request=NoBody, responses={202: JobSerializer}, tags=["jobs"])
    def post(self, request: Request, job_id: UUID) -> Response:
        """Delete the disks that the source of a cold migration still keeps, without waiting for a boot."""
        self.body(NoBody)
        return self.accepted(kept_disks.let_go(user=self.user, job_id=job_id, now=clock.now()))


class Recheck(ApiView):
    @extend_schema(operation_id="recheck", request=NoBody, responses={202: JobSerializer}, tags=["jobs"])
    def post(self, request: Request, job_id: UUID) -> Response:
        """Ask both hosts of a migration again, and settle it if their facts decide. Starts nothing by
        itself.
        """
        self.body(NoBody)
        return self.accepted(migration.recheck(user=self.user, job_id=job_id, now=clock.now()))
