"""Asking for things: each verb makes one job, in one transaction, for those who may."""

import functools

import pytest

from tests.fixtures import job_of, observe, report
from webxen.core.errors import InvalidError, NotFoundError
from webxen.core.models import AuditEntry
from webxen.inventory.models import Address, Host
from webxen.jobs import opening, operations, placing, queries
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.machines.naming import NameTakenError
from webxen.quotas import queries as quotas
from webxen.quotas.operations import QuotaExceededError
from webxen.quotas.shortage import Figures
from worker import contract

VERBS = {
    **{
        action: (
            functools.partial(operations.act, action=action),
            "RUNNING" if "RUNNING" in verb.powers else "OFF",
        )
        for action, verb in contract.ACTIONS.items()
    },
    "delete": (operations.delete_machine, "RUNNING"),
}


@pytest.fixture(params=VERBS)
def verb(request, web1):
    """A verb, and a machine in the condition for it."""
    act, power = VERBS[request.param]
    Machine.objects.filter(id=web1.id).update(power=power)
    return act


class TestVerb:
    @pytest.mark.parametrize("who", ["alice", "bob", "dana"])
    def test_makes_a_job_for_members_and_staff(self, verb, web1, who, request, now):
        user = request.getfixturevalue(who)
        job = verb(user=user, machine_id=web1.id, now=now)
        assert (job.status, job.requested_by, job.host_id) == ("QUEUED", user, web1.host_id)
        assert AuditEntry.objects.filter(action=f"{job.kind}_MACHINE", actor=user).exists()
        assert [event.event for event in job.events.all()] == ["QUEUED"]

    def test_charlie_cannot(self, verb, web1, charlie, elsewhere, now):
        with pytest.raises(NotFoundError):
            verb(user=charlie, machine_id=web1.id, now=now)
        assert not Job.objects.exclude(kind="CREATE").exists()

    def test_refuses_while_a_job_is_open(self, verb, web1, alice, now):
        verb(user=alice, machine_id=web1.id, now=now)
        with pytest.raises(operations.JobOpenError, match="A job is in progress for web1"):
            operations.delete_machine(user=alice, machine_id=web1.id, now=now)

    def test_lifts_the_fence(self, verb, web1, alice, now):
        job = verb(user=alice, machine_id=web1.id, now=now)
        web1.refresh_from_db()
        assert job.fence == web1.fence == 2

    def test_sends_one_order_after_the_commit(
        self, verb, web1, alice, now, mailbox, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks() as callbacks:
            job = verb(user=alice, machine_id=web1.id, now=now)
            assert mailbox.orders("xen1") == []
        for callback in callbacks:
            callback()
        (order,) = mailbox.orders("xen1")
        assert (order.kind, order.job_id, order.fence) == (job.kind, str(job.id), 2)
        assert order.machine.id == str(web1.id)
        job.refresh_from_db()
        assert job.sent_at == now

    def test_without_a_broker_the_job_is_kept(
        self, verb, web1, alice, now, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            job = verb(user=alice, machine_id=web1.id, now=now)
        job.refresh_from_db()
        assert (job.status, job.sent_at) == ("QUEUED", None)
        assert job.waiting_for == "The message broker is unavailable. The job is sent as soon as it is back."


class TestStartMachine:
    @pytest.mark.parametrize(
        ("power", "why"),
        [
            ("PAUSED", "The machine is paused."),
            ("UNKNOWN", "The host has not reported whether it is running."),
        ],
    )
    def test_says_why_not(self, web1, alice, now, power, why):
        Machine.objects.filter(id=web1.id).update(power=power)
        with pytest.raises(opening.ActionRefusedError) as caught:
            operations.act(action="start", user=alice, machine_id=web1.id, now=now)
        assert str(caught.value) == f"web1: this is not possible now: start. {why}"
        assert not Job.objects.exclude(kind="CREATE").exists()


class TestDeleteMachine:
    def test_of_a_waiting_one_is_done_at_once(self, order_machine, xen1, alice, lab, now):
        Host.objects.update(state="DRAINING")
        create = order_machine()
        job = operations.delete_machine(user=alice, machine_id=create.machine_id, now=now)
        create.refresh_from_db()
        assert (create.status, job.kind, job.status) == ("CANCELLED", "DELETE", "SUCCEEDED")
        assert job.machine.state == "DELETED"
        assert quotas.headroom(project=lab).reserved == Figures(0, 0, 0, 0)
        assert not Address.objects.exists()

    def test_of_a_waiting_one_charlie_cannot(self, order_machine, xen1, charlie, elsewhere, now):
        Host.objects.update(state="DRAINING")
        create = order_machine()
        with pytest.raises(NotFoundError):
            operations.delete_machine(user=charlie, machine_id=create.machine_id, now=now)
        create.refresh_from_db()
        assert create.status == "PENDING"

    def test_of_a_building_one_cancels_its_create(self, order_machine, alice, now):
        create = order_machine()
        job = operations.delete_machine(user=alice, machine_id=create.machine_id, now=now)
        assert (job.id, job.cancel_asked_at) == (create.id, now)
        assert Job.objects.count() == 1


class TestCreateMachine:
    def test_reserves_registers_and_orders(self, order_machine, lab, xen1):
        job = order_machine()
        xen1.refresh_from_db()
        machine = job.machine
        assert (job.status, job.kind, job.host, job.fence) == ("QUEUED", "CREATE", xen1, 1)
        assert (machine.state, machine.host) == ("BUILDING", xen1)
        assert quotas.headroom(project=lab).reserved == Figures(1, 1, 256, 1)
        assert xen1.memory_reserved_mib == 256
        card = machine.interfaces.get()
        assert Address.objects.get().mac == card.mac
        assert card.ipv4 == "10.0.2.100"
        assert machine.disks.get().size_gib == 1

    def test_over_quota_leaves_nothing_behind(self, order_machine, lab, xen1):
        with pytest.raises(QuotaExceededError, match="1 GiB of memory over quota: 0 MiB of 4 GiB used"):
            order_machine(memory_mib=5120)
        xen1.refresh_from_db()
        assert xen1.memory_reserved_mib == 0
        assert not Machine.objects.exists()
        assert not Job.objects.exists()
        assert not Address.objects.exists()

    def test_a_name_in_use_leaves_nothing_behind(self, order_machine, web1, lab):
        with pytest.raises(NameTakenError, match="lab already has a machine named web1"):
            order_machine("web1")
        assert quotas.headroom(project=lab).reserved.machines == 1

    def test_a_deleted_machines_name_is_free_again(self, web1, order_machine, alice, now):
        report(operations.delete_machine(user=alice, machine_id=web1.id, now=now), "SUCCEEDED")
        assert order_machine("web1").status == "QUEUED"

    def test_without_room_it_waits_and_says_for_what(self, order_machine, xen1):
        observe(xen1, free_memory="300")
        job = order_machine()
        assert (job.status, job.host) == ("PENDING", None)
        why = "No host has enough free capacity: xen1: 236 MiB of memory free, 256 MiB needed."
        assert job.waiting_for == why
        machine = Machine.objects.get()
        assert (machine.state, machine.state_reason) == ("PENDING", why)

    def test_the_wanted_host_without_room_is_refused(self, order_machine, xen1, lab):
        observe(xen1, free_memory="300")
        with pytest.raises(placing.NoRoomError, match="xen1: 236 MiB of memory free"):
            order_machine(host_name="xen1")
        assert not Machine.objects.exists()
        assert quotas.headroom(project=lab).reserved.machines == 0

    def test_an_unknown_host_is_refused(self, order_machine):
        with pytest.raises(InvalidError, match="There is no host named xen9"):
            order_machine(host_name="xen9")

    def test_the_order_holds_all_the_host_needs(
        self, order_machine, mailbox, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            job = order_machine()
        (order,) = mailbox.orders("xen1")
        assert isinstance(order, contract.CreateMachine)
        assert order.machine.domain == f"web1-{job.machine_id.hex[:8]}"
        assert order.machine.disks[0].size_mib == 1024
        nic = order.machine.nics[0]
        assert (nic.bridge, nic.ipv4, nic.prefix, nic.gateway) == ("xenbr0", "10.0.2.100", 24, "10.0.2.2")
        assert order.seed == contract.SeedSpec(hostname="web1", password_hash="$6$salt$hash")
        assert order.machine.image.sha256 == "0" * 64


class TestVisibleJobs:
    def test_a_stranger_sees_none(self, web1, alice, bob, charlie, dana, elsewhere):
        job = job_of(web1)
        for person in (alice, bob, dana):
            assert queries.get_visible(user=person, id=job.id) == job
        with pytest.raises(NotFoundError):
            queries.get_visible(user=charlie, id=job.id)

    def test_the_job_that_deleted_a_machine_stays_visible(self, web1, alice, now):
        job = operations.delete_machine(user=alice, machine_id=web1.id, now=now)
        report(job, "SUCCEEDED")
        assert queries.get_visible(user=alice, id=job.id).status == "SUCCEEDED"

    def test_what_is_waited_for_is_open_until_its_end(self, order_machine, alice):
        job = order_machine()
        assert queries.still_open([job.id]) == {job.id}
        report(job, "SUCCEEDED")
        assert queries.still_open([job.id]) == set()

    def test_open_job_is_found(self, order_machine, web1):
        job = order_machine("web2")
        assert queries.open_jobs_of(machine_ids=[web1.id, job.machine_id]) == {job.machine_id: job}
        assert queries.open_job_of(machine_id=web1.id) is None
