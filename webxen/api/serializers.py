"""Serializers of machines, jobs, hosts and related objects, used by several views.

Objects that have names (project, host, image, size, network, user) are shown by the short name that the API
also accepts; others (machine, job, request) by their id.
"""

from typing import Any

from django.db import models
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from webxen.api.fields import NumberOrNone, SecondsOrNone, TextOrNone, open_list
from webxen.inventory.facts import in_order
from webxen.inventory.models import Host
from webxen.inventory.queries import fingerprint_of
from webxen.jobs import queries
from webxen.jobs.models import Job
from webxen.machines.lifecycle import ACTIONS, allowed_actions
from webxen.machines.models import Machine
from webxen.migration.evidence import gauge
from webxen.migration.models import Move
from worker import contract

#: steps of all jobs
STEPS = dict.fromkeys(step.code for kind in contract.JOB_KINDS for step in contract.VERBS[kind].steps)


def seen_of(states: type[models.TextChoices], gone: str) -> list[tuple[str, str]]:
    """The states in which an object is visible: a gone one is a 404."""
    return [(value, label) for value, label in states.choices if value != gone]


class ErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(
        help_text="The kind of failure, what a program decides by; more may be added. docs/errors.md has all."
    )
    reason = serializers.CharField(help_text="What `message` says, as a code; finer than `code`.")
    params = serializers.DictField(help_text="What is put into the sentence of `reason`.")
    message = serializers.CharField(help_text="The sentence, in English.")
    retryable = serializers.BooleanField(help_text="Whether trying again can help.")
    reference = serializers.CharField(
        allow_blank=True,
        help_text="With INTERNAL_ERROR: where the log of the host's worker has it.",
    )


class MigrationSerializer(serializers.Serializer[Any]):
    """A migration between two hosts; null if a number is not known."""

    source = serializers.CharField()  # type: ignore[assignment]
    target = serializers.CharField()
    method = serializers.CharField(help_text=open_list(Move.Method.values))
    phase = serializers.CharField(help_text=open_list(Move.Phase.values))
    verdict = TextOrNone(help_text=open_list(Move.Verdict.values, "Where the machine is; null: not decided."))
    why = TextOrNone(help_text="What decided, or what is missing.")
    percent = serializers.IntegerField()
    sent_mib = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    rate_mib_s = serializers.FloatField()
    passes = serializers.IntegerField()
    remaining_seconds = SecondsOrNone()
    blackout_ms = NumberOrNone(help_text="How long the machine stood still.")
    is_past_go = serializers.BooleanField(help_text="The point of no return is passed.")
    total_mib = serializers.IntegerField(help_text="What is carried over: memory, or data on disks.")
    is_keeping = serializers.BooleanField(help_text="The source still has the disks that were copied.")
    is_letting_go = serializers.BooleanField(help_text="It was told to let them go.")


class JobSerializer(serializers.Serializer[Job]):
    id = serializers.UUIDField()
    kind = serializers.CharField(help_text=open_list(contract.JOB_KINDS))
    machine = serializers.UUIDField(source="machine_id")
    host = serializers.CharField(source="host.name", allow_null=True)
    status = serializers.ChoiceField(choices=Job.Status.choices)
    progress = serializers.IntegerField(min_value=0, max_value=100)
    step = TextOrNone(help_text=open_list(STEPS, "What its host reported last."))
    waiting_for = TextOrNone(help_text="What a PENDING or cancelled job waits for, as a sentence.")
    is_cancellable = serializers.SerializerMethodField()
    cancel_asked_at = serializers.DateTimeField(allow_null=True)
    error = serializers.SerializerMethodField()
    migration = serializers.SerializerMethodField()
    console_tail = TextOrNone(help_text="The last lines of the console of a job that failed.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_is_cancellable(self, job: Job) -> bool:
        return not queries.why_not_cancellable(job)

    @extend_schema_field(MigrationSerializer(allow_null=True))
    def get_migration(self, job: Job) -> dict[str, Any] | None:
        return dict(MigrationSerializer(gauge(move=job.move)).data) if job.kind == Job.Kind.MIGRATE else None

    @extend_schema_field(ErrorSerializer(allow_null=True))
    def get_error(self, job: Job) -> dict[str, Any] | None:
        if not job.error_code:
            return None
        message = job.error_message
        return {
            "code": job.error_code,
            "reason": message.code or job.error_code,
            "params": message.params,
            "message": message,
            "retryable": job.is_retryable,
            "reference": job.error_reference,
        }


class JobEventSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    event = serializers.CharField(help_text="What happened; more may be added.")
    step = TextOrNone()
    progress = serializers.IntegerField()
    message = TextOrNone(help_text="In English.")
    reason = TextOrNone(source="message.code", help_text="What `message` says, as a code.")
    params = serializers.DictField(source="message.params", help_text="What is put into that sentence.")


class DiskSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    pool = serializers.CharField()
    size_gib = serializers.IntegerField()
    vdev = serializers.CharField()


class InterfaceSerializer(serializers.Serializer[Any]):
    mac = serializers.CharField()
    network = serializers.CharField(source="network.name")
    ipv4 = serializers.IPAddressField(allow_null=True)
    ipv6 = serializers.IPAddressField(allow_null=True)


class PoolSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    host = serializers.CharField(source="host.name")
    name = serializers.CharField()
    kind = serializers.CharField()
    total_mib = serializers.IntegerField()
    free_mib = serializers.IntegerField()
    promised_mib = serializers.IntegerField(
        help_text="Sizes of the disks that the host's machines have there or are being given; of a shared"
        " pool the sum over its hosts counts."
    )
    limit_mib = serializers.IntegerField(
        help_text="How much may be promised to machines: see WEBXEN_DISK_RATIO."
    )
    shared_id = TextOrNone(help_text="Hosts that tell the same one see the same pool; null: not known.")


class HostSerializer(serializers.Serializer[Host]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    state = serializers.ChoiceField(choices=seen_of(Host.State, Host.State.REMOVED))
    fingerprint = serializers.SerializerMethodField(help_text="Of its key, as ssh-keygen prints it.")
    observed_at = serializers.DateTimeField(allow_null=True)
    clock_ahead_seconds = serializers.IntegerField(
        allow_null=True, help_text="Of its clock before the portal's, at the least. null: it does not say."
    )
    memory_mib = serializers.IntegerField(help_text="Memory for machines.")
    memory_reserved_mib = serializers.IntegerField(help_text="What of it is promised.")
    pools = PoolSerializer(many=True)
    bridges = serializers.ListField(child=serializers.CharField())
    images = serializers.DictField(
        child=serializers.CharField(), help_text="Image file to the digest that was checked."
    )
    worker_version = TextOrNone()
    facts = serializers.SerializerMethodField()
    domains = serializers.ListField(
        child=serializers.DictField(), allow_null=True, help_text="null: the list could not be read."
    )

    def get_fingerprint(self, host: Host) -> str | None:
        return fingerprint_of(host=host) or None

    @extend_schema_field(
        serializers.DictField(
            child=serializers.CharField(), help_text="`xl info`, line by line, in its order."
        )
    )
    def get_facts(self, host: Host) -> dict[str, str]:
        return dict(in_order(host.facts))


class MachineSerializer(serializers.Serializer[Machine]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    tags = serializers.ListField(child=serializers.CharField())
    project = serializers.CharField(source="project.slug")
    owner = serializers.CharField(source="owner.username")
    host = serializers.CharField(source="host.name", allow_null=True)
    image = serializers.CharField(source="image.slug")
    state = serializers.ChoiceField(choices=seen_of(Machine.State, Machine.State.DELETED))
    state_reason = TextOrNone()
    power = serializers.ChoiceField(choices=Machine.Power.choices)
    power_seen_at = serializers.DateTimeField(allow_null=True)
    last_power = TextOrNone(help_text="While power is UNKNOWN: what was seen at power_seen_at.")
    vcpus = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    disks = DiskSerializer(many=True)
    interfaces = InterfaceSerializer(many=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    open_job = serializers.SerializerMethodField()
    allowed_actions = serializers.SerializerMethodField()

    @extend_schema_field(JobSerializer(allow_null=True))
    def get_open_job(self, machine: Machine) -> dict[str, Any] | None:
        job = self.context["open_jobs"].get(machine.id)
        return None if job is None else dict(JobSerializer(job).data)

    @extend_schema_field(
        serializers.ListField(
            child=serializers.CharField(),
            help_text=open_list(ACTIONS, "What would be accepted now: the last part of an action's address."),
        )
    )
    def get_allowed_actions(self, machine: Machine) -> list[str]:
        reasons = allowed_actions(
            machine=machine,
            open_job=self.context["open_jobs"].get(machine.id),
            user=self.context["user"],
        )
        return [action for action, why_not in reasons.items() if not why_not]


def page_of(shape: type[serializers.BaseSerializer[Any]]) -> type[serializers.Serializer[Any]]:
    """For the OpenAPI document: a cursor page of these."""
    name = f"{shape.__qualname__.split('.')[0].removesuffix('Shape')}Page"
    fields = {
        "__doc__": "",
        "next": serializers.URLField(allow_null=True),
        "previous": serializers.URLField(allow_null=True),
        "results": shape(many=True),
    }
    return type(name, (serializers.Serializer,), fields)
