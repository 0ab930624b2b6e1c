"""Machines API. Operations that a host executes answer 202 with the job."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.accounts import queries as accounts
from webxen.accounts.queries import Sight
from webxen.api.base import ApiView, NoBody, PageQuery
from webxen.api.fields import StrictText
from webxen.api.serializers import JobSerializer, MachineSerializer, page_of, seen_of
from webxen.console import operations as console
from webxen.core import clock
from webxen.core.waiting_together import WaitingTogether, arrival_of
from webxen.jobs import operations as jobs
from webxen.jobs import queries as job_queries
from webxen.machines import operations, queries
from webxen.machines.models import Machine
from worker import contract

#: columns that a list does not show but would load for each row
NOT_LISTED = (
    *("config", "seed", "placement", "owner__password", "owner__last_ssh_keys", "image__description"),
    *(f"image__{name}" for name in ("name", "file", "sha256", "kernel", "ramdisk", "root", "extra")),
)


class MachineDoor(ApiView):
    def context(self, rows: Sequence[Any]) -> dict[str, Any]:
        machine_ids = [row.id for row in rows]
        return {"user": self.user, "open_jobs": job_queries.open_jobs_of(machine_ids=machine_ids)}


class Machines(MachineDoor):
    class QuerySerializer(PageQuery):
        state = serializers.ChoiceField(choices=seen_of(Machine.State, Machine.State.DELETED), required=False)
        power = serializers.ChoiceField(choices=Machine.Power.choices, required=False)
        host = serializers.CharField(
            required=False, max_length=contract.MAX_HOST_NAME, help_text="Name or id of a host."
        )
        project = serializers.CharField(required=False, max_length=40, help_text="Slug or id.")
        q = serializers.CharField(required=False, max_length=100, help_text="Part of the name.")

    #: polled often: concurrent requests of users with equal permissions share one answer
    answers: ClassVar[WaitingTogether[bytes]] = WaitingTogether()

    @extend_schema(operation_id="list_machines", responses=page_of(MachineSerializer), tags=["machines"])
    def get(self, request: Request) -> HttpResponse:
        """Machines of your projects, newest first; staff sees all."""
        sight = accounts.sight_of(user=self.user)
        arrived = arrival_of(request.META)
        key = (sight, request.build_absolute_uri())
        text = self.answers.answer(key, partial(self._look, sight), arrived=arrived)
        return HttpResponse(text, content_type=JSONRenderer.media_type)

    def _look(self, sight: Sight) -> bytes:
        # the result is shared with users of exactly these projects
        rows = queries.visible_to(user=self.user, sight=sight).defer(*NOT_LISTED)
        for name in ("state", "power"):
            if wanted := self.query.get(name):
                rows = rows.filter(**{name: wanted})
        for name, column in (("host", "name"), ("project", "slug")):
            if wanted := self.query.get(name):
                rows = rows.filter(_called(name, column, wanted))
        if wanted := self.query.get("q"):
            rows = rows.filter(name__icontains=wanted)
        text: bytes = JSONRenderer().render(self.page(rows, MachineSerializer).data)
        return text


def _called(relation: str, column: str, wanted: str) -> Q:
    """Filter a relation by its id or by its name."""
    try:
        return Q(**{f"{relation}_id": UUID(wanted)})
    except ValueError:
        return Q(**{f"{relation}__{column}": wanted.lower()})


class OneMachine(MachineDoor):
    class InputSerializer(serializers.Serializer[Any]):
        name = StrictText(required=False, allow_blank=True, trim_whitespace=False)
        description = StrictText(required=False, allow_blank=True, max_length=2000)
        tags = serializers.ListField(child=StrictText(max_length=40), required=False, max_length=20)

    @extend_schema(operation_id="get_machine", responses=MachineSerializer, tags=["machines"])
    def get(self, request: Request, machine_id: UUID) -> Response:
        """One machine."""
        return self.one(queries.get_visible(user=self.user, id=machine_id), MachineSerializer)

    @extend_schema(
        operation_id="change_machine",
        request=InputSerializer,
        responses=MachineSerializer,
        tags=["machines"],
    )
    def patch(self, request: Request, machine_id: UUID) -> Response:
        """Change its name, description or tags. The hostname inside the guest does not change."""
        given = self.body(self.InputSerializer, partial=True)
        done = operations.edit(user=self.user, machine_id=machine_id, now=clock.now(), **given)
        return self.one(done, MachineSerializer)

    @extend_schema(
        operation_id="delete_machine", request=None, responses={202: JobSerializer}, tags=["machines"]
    )
    def delete(self, request: Request, machine_id: UUID) -> Response:
        """Power it off at once, then delete its disks permanently."""
        self.body(NoBody)
        done = jobs.delete_machine(user=self.user, machine_id=machine_id, now=clock.now())
        return self.accepted(done)


class Action(ApiView):
    """A verb of the contract, named in the URL: machines/{id}/start/."""

    verb: ClassVar[contract.Verb]

    def perform(self, machine_id: UUID) -> Response:
        self.body(NoBody)
        return self.accepted(
            jobs.act(user=self.user, machine_id=machine_id, action=self.verb.action, now=clock.now())
        )


def action_of(verb: contract.Verb) -> type[Action]:
    """Return the view of a verb that needs no body."""

    @extend_schema(
        operation_id=f"{verb.action}_machine",
        description=verb.purpose,
        request=NoBody,
        responses={202: JobSerializer},
        tags=["machines"],
    )
    def post(view: Action, request: Request, machine_id: UUID) -> Response:
        return view.perform(machine_id)

    return type(verb.action.capitalize(), (Action,), {"verb": verb, "post": post})


class Config(ApiView):
    @extend_schema(operation_id="get_machine_config", responses={(200, "text/plain"): str}, tags=["machines"])
    def get(self, request: Request, machine_id: UUID) -> HttpResponse:
        """The xl configuration it was last started with, as reported by its host; empty before that."""
        machine = queries.get_visible(user=self.user, id=machine_id)
        return HttpResponse(machine.config, content_type="text/plain; charset=utf-8")


class Console(ApiView):
    class OutputSerializer(serializers.Serializer[Any]):
        url = serializers.CharField(help_text="The socket's address, ws:// or wss://.")
        ticket = serializers.CharField(
            help_text="Goes into the subprotocol webxen.ticket.<ticket>; opens one socket once."
        )
        expires_at = serializers.DateTimeField()

    @extend_schema(
        operation_id="open_console",
        request=NoBody,
        responses={201: OutputSerializer},
        tags=["machines"],
    )
    def post(self, request: Request, machine_id: UUID) -> Response:
        """Create a ticket for the console WebSocket, valid once and for a minute."""
        self.body(NoBody)
        machine = queries.get_visible(user=self.user, id=machine_id)
        session = None if self.token else request.session
        ticket, expires_at = console.open_ticket(
            user=self.user,
            machine=machine,
            now=clock.now(),
            token=self.token,
            session_key=(session and session.session_key) or "",
        )
        scheme = "wss" if request.is_secure() else "ws"
        row = {
            "url": f"{scheme}://{request.get_host()}/ws/console/{machine.id}/",
            "ticket": ticket,
            "expires_at": expires_at,
        }
        return self.one(row, self.OutputSerializer, status=status.HTTP_201_CREATED)
