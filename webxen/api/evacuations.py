"""Staff's operations on many machines: evacuation, balancing, fencing and failover of hosts."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.base import NoBody, StaffDoor
from webxen.api.fields import StrictFlag, StrictText, StrictUuid, TextOrNone, open_list
from webxen.api.hosts import HostDoor
from webxen.api.serializers import HostSerializer, JobSerializer
from webxen.core import clock
from webxen.fleet import balancing, failover, fencing, plans
from webxen.fleet import evacuation as fleet_evacuation
from webxen.fleet.models import Evacuation, EvacuationStep
from webxen.inventory import queries
from webxen.machines import foreign_domains as machines_foreign_domains
from webxen.migration.models import Move


class PlannedSerializer(serializers.Serializer[Any]):
    machine = serializers.UUIDField(source="machine.id")
    name = serializers.CharField(source="machine.name")
    source = serializers.CharField()  # type: ignore[assignment]
    target = serializers.CharField(allow_null=True, help_text="null: it cannot move.")
    method = TextOrNone(help_text=open_list(Move.Method.values, "null: it cannot move."))
    why = TextOrNone(help_text="Why it cannot move, or not while it runs.")
    expected_seconds = serializers.FloatField()
    away_seconds = serializers.FloatField()
    gain = serializers.FloatField(help_text="By how much the cluster's score falls; 0 in a drain.")
    gain_percent = serializers.FloatField(help_text="The same, of the whole score.")


class DrainPlanSerializer(serializers.Serializer[Any]):
    host = serializers.CharField()
    expected_seconds = serializers.FloatField()
    steps = PlannedSerializer(many=True)
    hosts_left_out = serializers.IntegerField(help_text="Not looked at: very many hosts, and less room.")


class StepSerializer(serializers.Serializer[Any]):
    machine = serializers.UUIDField(source="machine_id")
    name = serializers.CharField(source="machine.name")
    source = serializers.CharField(source="source.name")  # type: ignore[assignment]
    target = serializers.CharField(source="target.name", allow_null=True, default=None)
    status = serializers.CharField(source="progress", help_text=open_list(EvacuationStep.Progress.values))
    why = TextOrNone()
    job = serializers.UUIDField(source="job_id", allow_null=True)


class EvacuationSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="evacuation.id")
    kind = serializers.CharField(source="evacuation.kind", help_text=open_list(Evacuation.Kind.values))
    created_at = serializers.DateTimeField(source="evacuation.created_at")
    finished_at = serializers.DateTimeField(
        source="evacuation.finished_at", allow_null=True, help_text="When it ended, however it ended."
    )
    status = serializers.CharField(
        help_text="RUNNING; SUCCEEDED: every machine has left; INCOMPLETE: it has ended and some are still"
        " there; STOPPED: it was called off, or another took its place."
    )
    percent = serializers.IntegerField(help_text="Of the memory of all its machines, what has left.")
    machines_left = serializers.IntegerField(help_text="How many have not left, or not yet.")
    steps = StepSerializer(many=True)


class OneEvacuation(StaffDoor):
    @extend_schema(operation_id="get_evacuation", responses=EvacuationSerializer, tags=["hosts"])
    def get(self, request: Request, evacuation_id: UUID) -> Response:
        """Progress of an evacuation, of its reversal or of a balancing."""
        found = fleet_evacuation.get_visible(user=self.user, id=evacuation_id)
        return self.one(fleet_evacuation.stand_of(found), EvacuationSerializer)


class EvacuationDoor(HostDoor):
    """Base of views that start an evacuation; the answer's Location is its URL."""

    def begun(self, evacuation: Evacuation) -> Response:
        stand = fleet_evacuation.stand_of(evacuation)
        response = self.one(stand, EvacuationSerializer, status=status.HTTP_202_ACCEPTED)
        response["Location"] = self.address("evacuation", evacuation.id)
        return response


class ForeignSerializer(serializers.Serializer[Any]):
    """A domain on the host that is not a machine of the portal: it is neither migrated nor restarted
    elsewhere.
    """

    name = TextOrNone(source="domain", help_text="As the host lists it; null: it has none.")
    uuid = serializers.CharField()
    power = serializers.CharField()


class Drain(EvacuationDoor):
    class QuerySerializer(serializers.Serializer[Any]):
        shut_down = serializers.BooleanField(
            required=False, default=False, help_text="Plan as if machines might be shut down for it."
        )

    class InputSerializer(serializers.Serializer[Any]):
        one_way = StrictFlag(required=False, default=False, help_text="Fine if they cannot move back.")
        shut_down = StrictFlag(
            required=False,
            default=False,
            help_text="Also move those that must be shut down for it, and those that are off.",
        )

    class OutputSerializer(serializers.Serializer[Any]):
        plan = DrainPlanSerializer()
        progress = EvacuationSerializer(allow_null=True, help_text="The latest drain or return of this host.")
        foreign_domains = ForeignSerializer(many=True, help_text="They stay, and go off with the host.")

    @extend_schema(operation_id="plan_drain", responses=OutputSerializer, tags=["hosts"])
    def get(self, request: Request, host: str) -> Response:
        """The planned target and duration for each machine, and the reasons of those that cannot be
        migrated.
        """
        host_id = self.host_id(host)
        row = {
            "plan": plans.plan_drain(
                user=self.user, host_id=host_id, may_shut_down=self.query["shut_down"], now=clock.now()
            ),
            "progress": fleet_evacuation.standing(user=self.user, host_id=host_id),
            "foreign_domains": machines_foreign_domains.strangers_on(
                queries.get_visible_host(user=self.user, id=host_id)
            ),
        }
        return self.one(row, self.OutputSerializer)

    @extend_schema(
        operation_id="drain_host",
        request=InputSerializer,
        responses={202: EvacuationSerializer},
        tags=["hosts"],
    )
    def post(self, request: Request, host: str) -> Response:
        """Place no new machines on the host and migrate its machines away. A repeated call continues."""
        wanted = self.body(self.InputSerializer)
        begun = fleet_evacuation.drain_host(
            user=self.user,
            host_id=self.host_id(host),
            one_way_is_fine=wanted["one_way"],
            may_shut_down=wanted["shut_down"],
            now=clock.now(),
        )
        return self.begun(begun)


class Activate(HostDoor):
    @extend_schema(operation_id="activate_host", request=NoBody, responses=HostSerializer, tags=["hosts"])
    def post(self, request: Request, host: str) -> Response:
        """Allow machines on the host again; an evacuation is stopped."""
        self.body(NoBody)
        done = fleet_evacuation.activate_host(user=self.user, host_id=self.host_id(host), now=clock.now())
        return self.one(done, HostSerializer)


class Undrain(EvacuationDoor):
    @extend_schema(
        operation_id="undrain_host", request=NoBody, responses={202: EvacuationSerializer}, tags=["hosts"]
    )
    def post(self, request: Request, host: str) -> Response:
        """Allow machines on the host again, and migrate back those that were evacuated from it."""
        self.body(NoBody)
        begun = fleet_evacuation.bring_back(user=self.user, host_id=self.host_id(host), now=clock.now())
        return self.begun(begun)


class Rescue(HostDoor):
    class InputSerializer(serializers.Serializer[Any]):
        words = StrictText(max_length=80, help_text="“NAME is off”, exactly: you have seen that it is.")

    class OutputSerializer(serializers.Serializer[Any]):
        jobs = JobSerializer(many=True)

    @extend_schema(
        operation_id="restart_elsewhere",
        request=InputSerializer,
        responses={202: OutputSerializer},
        tags=["hosts"],
    )
    def post(self, request: Request, host: str) -> Response:
        """Start a dead host's machines elsewhere, after you have confirmed that it is off."""
        wanted = self.body(self.InputSerializer)
        jobs = failover.restart_elsewhere(
            user=self.user, host_id=self.host_id(host), untrusted_words=wanted["words"], now=clock.now()
        )
        return self.one({"jobs": jobs}, self.OutputSerializer, status=status.HTTP_202_ACCEPTED)


class FencingSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    agent = serializers.CharField()
    status = serializers.CharField(
        source="phase",
        help_text="ASKED, RUNNING, OFF (it said so) or FAILED (not known to be off; nothing was started).",
    )
    asked_by = serializers.CharField(source="asked_by.username")
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    off_exit = serializers.IntegerField(allow_null=True, help_text="How the agent ended when told “off”.")
    status_exit = serializers.IntegerField(allow_null=True, help_text="And when asked for “status”.")
    said = TextOrNone(help_text="The agent's last words.")
    why = TextOrNone(help_text="Why nothing started elsewhere.")
    machines_started = serializers.IntegerField()


class Fence(HostDoor):
    class OutputSerializer(serializers.Serializer[Any]):
        agent = serializers.CharField(allow_null=True, help_text="null: nobody said how to switch it off.")
        latest = FencingSerializer(allow_null=True)
        foreign_domains = ForeignSerializer(many=True, help_text="They go off with the host.")

    @extend_schema(operation_id="show_fencing", responses=OutputSerializer, tags=["hosts"])
    def get(self, request: Request, host: str) -> Response:
        """The host's fence agent, and its last result."""
        found = queries.get_visible_host_called(user=self.user, untrusted=host)
        fence = fencing.fence_of(host=found)
        row = {
            "agent": fence.agent if fence else None,
            "latest": fencing.latest(user=self.user, host_id=found.id),
            "foreign_domains": machines_foreign_domains.strangers_on(found),
        }
        return self.one(row, self.OutputSerializer)

    @extend_schema(
        operation_id="fence_host", request=NoBody, responses={202: FencingSerializer}, tags=["hosts"]
    )
    def post(self, request: Request, host: str) -> Response:
        """Power a silent host off with its fence agent; if the agent reports it off, its machines start
        elsewhere.
        """
        self.body(NoBody)
        asked = fencing.ask(user=self.user, host_id=self.host_id(host), now=clock.now())
        return self.one(asked, FencingSerializer, status=status.HTTP_202_ACCEPTED)


class PolicySerializer(serializers.Serializer[Any]):
    """The policy of automatic balancing, and its last run."""

    window = serializers.CharField(
        source="window.text", allow_null=True, default=None, help_text="In UTC; null: never."
    )
    min_gain_percent = serializers.IntegerField()
    closes_at = serializers.DateTimeField(allow_null=True, help_text="null: the window is closed.")
    why = TextOrNone(help_text="Why no move begins although it is open.")
    last = EvacuationSerializer(allow_null=True)


class Balance(EvacuationDoor):
    class InputSerializer(serializers.Serializer[Any]):
        machines = serializers.ListField(child=StrictUuid(), min_length=1, max_length=50)

    class OutputSerializer(serializers.Serializer[Any]):
        proposals = PlannedSerializer(many=True)
        proposed_at = serializers.DateTimeField(
            allow_null=True, help_text="As of when; null: there are too many machines and no plan yet."
        )
        policy = PolicySerializer()

    @extend_schema(operation_id="plan_balance", responses=OutputSerializer, tags=["hosts"])
    def get(self, request: Request) -> Response:
        """Migrations that would balance the cluster, each with its gain."""
        now = clock.now()
        row = {
            "proposals": plans.plan_balanced(user=self.user, now=now),
            "proposed_at": plans.proposed_at(now=now),
            "policy": balancing.look_at_policy(user=self.user, now=now),
        }
        return self.one(row, self.OutputSerializer)

    @extend_schema(
        operation_id="balance", request=InputSerializer, responses={202: EvacuationSerializer}, tags=["hosts"]
    )
    def post(self, request: Request) -> Response:
        """Carry out the proposed migrations of these machines."""
        wanted = self.body(self.InputSerializer)
        begun = fleet_evacuation.balance(user=self.user, machine_ids=wanted["machines"], now=clock.now())
        return self.begun(begun)
