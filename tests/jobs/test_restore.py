"""A backup of the database is restored while the hosts went on: nothing is lost or given twice."""

import functools
import io
import re
from datetime import timedelta
from uuid import uuid4

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import transaction

from tests.fixtures import NOW, PASSWORD, observe
from tests.jobs.whole_site import register_image, running_site
from webxen.accounts import operations as accounts
from webxen.accounts.models import ApiToken
from webxen.approvals import operations as approvals
from webxen.approvals import requested_spec
from webxen.approvals.models import MachineRequest
from webxen.core import portal_key
from webxen.core.models import AuditEntry
from webxen.diagnostics.verify import verify
from webxen.fleet import evacuation, fencing
from webxen.fleet.models import Fencing
from webxen.inventory import operations as inventory
from webxen.inventory import restores
from webxen.inventory.models import Address, Host, SeenReceipt
from webxen.inventory.restores import RestoredError
from webxen.jobs import dispatch, operations
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.quotas.models import Quota
from webxen.recovery import after_restore, readoption
from worker import contract

LATER = NOW + timedelta(minutes=10)
#: no sentence and no command may advise any of these
DESTROYING = re.compile(r"\brm\b|lvremove|xl destroy|remove the folder")


@pytest.fixture
def site(db, tmp_path, mailbox, xen1_key):
    with running_site(tmp_path, mailbox, xen1_key) as site:
        yield site


@pytest.fixture
def make(site, lab, alice, lan):
    image = register_image(site.worker_host)

    def make(name, **changed):
        fields = {
            "project": lab,
            "owner": alice,
            "name": name,
            "image": image,
            "network": lan,
            "vcpus": 1,
            "memory_mib": 128,
            "disk_gib": 1,
            "seed": {"ssh_keys": [], "password_hash": "", "user_data": ""},
            "host_name": "xen1",
            "requested_by": alice,
            "now": NOW,
        }
        job = operations.create_machine(**{**fields, **changed})
        site.send(job)
        assert site.carry_out(job).status == "SUCCEEDED", job.error_message
        return Machine.objects.get(id=job.machine_id)

    return make


def do(site, verb, machine, user, *, now):
    job = verb(user=user, machine_id=machine.id, now=now)
    site.send(job)
    assert site.carry_out(job, now=now).status == "SUCCEEDED", job.error_message


@pytest.fixture
def restored(site, make, alice):
    """m1 and m2 are in the backup; then m3 is made, m2 deleted, m1 rebooted, and the backup restored."""
    m1, m2 = make("m1"), make("m2")
    site.look()
    backup = transaction.savepoint()
    m3 = make("m3", memory_mib=160)
    do(site, operations.delete_machine, m2, alice, now=NOW + timedelta(minutes=1))
    do(site, functools.partial(operations.act, action="reboot"), m1, alice, now=NOW + timedelta(minutes=2))
    address = m3.interfaces.get().ipv4
    transaction.savepoint_rollback(backup)
    site.host = Host.objects.get(name="xen1")
    assert not Machine.objects.filter(id=m3.id).exists()
    return m1, m2, m3, address


def codes(verdict):
    return sorted(finding.code for finding in verdict.findings)


def run(command, *words):
    out = io.StringIO()
    try:
        with time_machine.travel(LATER, tick=False):
            call_command(command, *words, stdout=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


class TestTheFirstWordOfAHost:
    def test_tells_that_the_database_is_older(self, site, restored):
        assert not restores.is_held()
        site.look(now=LATER)
        assert restores.is_held()
        assert restores.open_restore().why.startswith("xen1 was given a job for m")
        assert AuditEntry.objects.filter(action="RESTORE_FOUND", actor=None).count() == 1

    def test_is_told_what_there_is_with_the_way_back_and_no_destroying_advice(self, site, restored):
        m3 = restored[2]
        site.look(now=LATER)
        verdict = verify(host=None, fixed_by=None, now=LATER)
        assert codes(verdict) == [
            "DATABASE_OLDER",
            "FENCE_BEHIND",
            "FENCE_BEHIND",
            "MACHINE_DELETED_SINCE",
            "MACHINE_MISSING_HERE",
        ]
        found = {finding.code: finding for finding in verdict.findings}
        missing = found["MACHINE_MISSING_HERE"]
        assert (missing.machine, missing.command) == ("m3", f"manage.py readopt {m3.id}")
        assert "m3 of alice in lab was created by this portal on 2026-11-24 12:00 UTC" in missing.said
        assert missing.said.endswith("on xen1 it is running.")
        assert found["MACHINE_DELETED_SINCE"].machine == "m2"
        words = " ".join(f"{one.said} {one.command} {one.cure}" for one in verdict.findings)
        assert not DESTROYING.search(words)

    def test_of_machines_that_are_known_changes_nothing(self, site, make):
        make("m1")
        site.look(now=LATER)
        assert not restores.is_held()
        assert not SeenReceipt.objects.exists()


#: everything that may be asked of a machine that is there
ACTS = {
    **{action: functools.partial(operations.act, action=action) for action in contract.ACTIONS},
    "delete": operations.delete_machine,
}


class TestWhileStaffHasNotLooked:
    @pytest.fixture(autouse=True)
    def _seen(self, site, restored):
        site.look(now=LATER)

    @pytest.mark.parametrize("verb", ACTS)
    def test_no_verb_is_ordered(self, restored, alice, verb, mailbox):
        Machine.objects.filter(id=restored[0].id).update(power="OFF" if verb == "start" else "RUNNING")
        with pytest.raises(RestoredError, match="restored from an older backup"):
            ACTS[verb](user=alice, machine_id=restored[0].id, now=LATER)
        assert mailbox.take("xen1") == []

    def test_no_address_is_given(self, lan):
        with pytest.raises(RestoredError):
            inventory.give_address(network=lan, holder=uuid4(), now=LATER)

    def test_a_request_waits_with_the_true_reason(self, alice, lab, small):
        untrusted = {"name": "m4", "image": "minimal", "size": "small", "password": PASSWORD, "reason": "x"}
        wish = requested_spec.parse(untrusted=untrusted, user=alice)
        request = approvals.submit(user=alice, wish=wish, now=LATER)
        assert (request.status, request.why_pending) == (MachineRequest.Status.PENDING, restores.HELD)
        assert not Machine.objects.filter(name="m4").exists()

    def test_the_clock_sends_places_and_gives_up_nothing(self, restored, alice, mailbox):
        job = Job.objects.create(
            kind="DELETE",
            machine=restored[0],
            host=restored[0].host,
            status="QUEUED",
            fence=2,
            created_at=NOW,
        )
        late = LATER + timedelta(days=1)
        assert set(operations.sweep(now=late).values()) == {0}
        assert dispatch.send(job_id=job.id, now=late) == dispatch.Outcome.HELD
        assert evacuation.advance(now=late) == 0
        job.refresh_from_db()
        assert (job.status, job.waiting_for) == ("QUEUED", restores.HELD)
        assert mailbox.take("xen1") == []

    def test_no_fence_agent_is_used(self, restored, dana):
        Fencing.objects.create(
            host=restored[0].host, asked_by=dana, agent="fence_x", created_at=LATER, phase="ASKED"
        )
        assert fencing.claim(now=LATER) == []


class TestReadopt:
    def test_takes_the_machine_back_as_it_is_and_touches_nothing_on_the_host(
        self, site, restored, lab, alice, dana
    ):
        _, _, m3, address = restored
        site.look(now=LATER)
        before, domains = site.files(), site.worker_host.domains()
        held = Quota.objects.get(project=lab).memory_mib_reserved
        status, said = run("readopt", "--all")
        assert (status, "m3" in said) == (0, True)
        assert (site.files(), site.worker_host.domains()) == (before, domains)

        machine = Machine.objects.get(id=m3.id)
        same = ("name", "project_id", "owner_id", "host_id", "image_id", "vcpus", "memory_mib", "created_at")
        assert [getattr(machine, name) for name in same] == [getattr(m3, name) for name in same]
        assert (machine.state, machine.power, machine.fence) == ("READY", "RUNNING", m3.fence)
        assert machine.interfaces.get().ipv4 == address
        assert Address.objects.get(holder=m3.id).ipv4 == address
        assert Quota.objects.get(project=lab).memory_mib_reserved == held + 160
        assert AuditEntry.objects.filter(action="READOPT_MACHINE", actor=dana).count() == 1

        verify(host=None, fixed_by=dana, now=LATER)
        after_restore.confirm(staff=dana, now=LATER)
        late = LATER + timedelta(seconds=20)
        site.look(now=late)
        assert codes(verify(host=None, fixed_by=None, now=late)) == ["MACHINE_DELETED_SINCE"]
        do(site, operations.delete_machine, Machine.objects.get(name="m2"), alice, now=late)
        do(site, functools.partial(operations.act, action="reboot"), machine, alice, now=late)
        do(site, functools.partial(operations.act, action="reboot"), restored[0], alice, now=late)
        do(site, operations.delete_machine, machine, alice, now=late)
        end = late + timedelta(seconds=20)
        site.look(now=end)
        assert codes(verify(host=None, fixed_by=None, now=end)) == []

    def test_takes_back_beyond_the_quota_and_shows_the_excess(self, site, restored, lab, dana):
        Quota.objects.filter(project=lab).update(machines_limit=2)
        site.look(now=LATER)
        readoption.readopt(staff=dana, machine_id=restored[2].id, now=LATER)
        assert Quota.objects.get(project=lab).machines_overdraft == 1

    def test_says_what_is_missing_and_takes_what_staff_names_instead(self, site, restored, dana, charlie):
        m3 = restored[2]
        site.look(now=LATER)
        Machine.objects.filter(id=restored[0].id).update(name="m3")
        status, said = run("readopt", str(m3.id))
        assert (status, "already has a machine named m3" in said) == (1, True)
        assert "There is no user nobody" in run("readopt", str(m3.id), "--owner", "nobody")[1]
        assert "There is no project nowhere" in run("readopt", str(m3.id), "--project", "nowhere")[1]
        assert not Machine.objects.filter(id=m3.id).exists()
        assert run("readopt", str(m3.id), "--name", "m3-back", "--owner", "charlie")[0] == 0
        machine = Machine.objects.get(id=m3.id)
        assert (machine.name, machine.owner) == ("m3-back", charlie)

    def test_is_refused_where_another_machine_was_given_the_address(self, site, restored, dana, lan):
        _, _, m3, address = restored
        Address.objects.create(network=lan, ipv4=address, mac="00:16:3e:ff:ff:ff", holder=uuid4())
        site.look(now=LATER)
        with pytest.raises(inventory.AddressHeldError, match=address):
            readoption.readopt(staff=dana, machine_id=m3.id, now=LATER)

    def test_is_refused_while_the_host_is_silent(self, site, restored, dana):
        site.look(now=LATER)
        with pytest.raises(readoption.NotReadoptableError, match="xen1 is not responding"):
            readoption.readopt(staff=dana, machine_id=restored[2].id, now=LATER + timedelta(hours=1))


class TestAddressesSeenOnHosts:
    def test_are_not_given_again_even_after_staff_has_looked(self, site, restored, make, dana):
        address = restored[3]
        site.look(now=LATER)
        after_restore.confirm(staff=dana, now=LATER)
        m4 = make("m4", now=LATER)
        assert m4.interfaces.get().ipv4 != address
        assert restored[3] not in Address.objects.values_list("ipv4", flat=True)

    def test_are_taken_without_any_restore(self, site, make, lan):
        folder = site.state / "machines" / str(uuid4())
        folder.mkdir()
        (folder / "machine.cfg").write_text("vif = [ 'mac=00:16:3e:1:2:3,bridge=xenbr0,ip=10.0.2.100' ]")
        site.look()
        assert make("m1").interfaces.get().ipv4 == "10.0.2.101"

    def test_on_another_bridge_are_free(self, site, make):
        folder = site.state / "machines" / str(uuid4())
        folder.mkdir()
        (folder / "machine.cfg").write_text("vif = [ 'mac=00:16:3e:1:2:3,bridge=xenbr7,ip=10.0.2.100' ]")
        site.look()
        assert make("m1").interfaces.get().ipv4 == "10.0.2.100"

    def test_that_use_up_a_network_are_told_with_their_host(self, xen1, lan):
        lan.last = lan.first
        lan.save()
        inventory.record_observation(
            host=xen1,
            observation=contract.Observation(
                "xen1",
                {},
                (),
                (),
                (),
                holdings=contract.Holdings(
                    addresses=(contract.AddressSeen("x", "", lan.first), contract.AddressSeen("y", "", "no"))
                ),
            ),
            ours=(),
            now=NOW,
        )
        with pytest.raises(inventory.NoAddressError, match="1 is used on xen1"):
            inventory.give_address(network=lan, holder=uuid4(), now=NOW)


class TestWhatAHostCanSay:
    def said(self, site, *, receipts, now=LATER, **holdings):
        seen = contract.Holdings(receipts=receipts, machines=(str(uuid4()),), **holdings)
        site.look(now=now, holdings=seen)

    def forged(self, site, *, key=None, host="xen1", **changed):
        values = {
            "machine_id": str(uuid4()),
            "order": "CREATE",
            "fence": 1,
            "at": int(NOW.timestamp()),
            "created_at": int(NOW.timestamp()),
            "name": "ghost",
            "project": "lab",
            "owner": "alice",
            "image": "minimal",
            "vcpus": 1,
            "memory_mib": 128,
            "disks": (),
        }
        return contract.seal_receipt(
            contract.Receipt(**{**values, **changed}), host=host, sign=key or (lambda _: b"x" * 64)
        )

    def test_without_the_portals_signature_holds_nothing_and_invents_no_machine(
        self, site, lab, alice, xen1_key, settings
    ):
        ours = portal_key.signer(settings.WEBXEN_PORTAL_KEY_FILE)
        receipts = (
            self.forged(site),
            self.forged(site, key=xen1_key.sign),
            self.forged(site, key=ours, host="xen2"),
            self.forged(site, key=ours, machine_id="../../etc"),
            "not base64 \x1b",
            "AAAA",
            "",
        )
        self.said(site, receipts=receipts)
        assert not restores.is_held()
        assert not SeenReceipt.objects.exists()
        assert readoption.missing() == []

    def test_of_fences_jobs_and_a_serial_that_jumped_holds_nothing(self, site, make):
        m1 = make("m1")
        self.said(
            site,
            receipts=(),
            fences=(contract.FenceSeen(str(m1.id), 99), contract.FenceSeen(str(uuid4()), 5)),
            jobs=(contract.JobSeen(str(uuid4()), str(m1.id)),),
        )
        site.look(now=LATER, serial=2**40)
        assert not restores.is_held()


class TestAfterStaffHasLooked:
    def test_orders_are_given_again_and_what_was_looked_at_holds_nothing(self, site, restored, dana):
        site.look(now=LATER)
        assert run("end_restore")[1].startswith("Jobs are sent again.")
        site.look(now=LATER + timedelta(seconds=10))
        assert not restores.is_held()
        assert AuditEntry.objects.filter(action="RESTORE_LOOKED_AT", actor=dana).count() == 1
        with pytest.raises(CommandError, match="orders are given"):
            call_command("end_restore")

    def test_an_order_that_was_on_its_way_is_taken_back_and_not_sent(self, site, make, alice, dana, mailbox):
        m1 = make("m1")
        job = operations.delete_machine(user=alice, machine_id=m1.id, now=LATER)
        after_restore.begin(staff=dana, keeps_tokens=True, now=LATER)
        after_restore.confirm(staff=dana, now=LATER)
        operations.sweep(now=LATER + timedelta(seconds=10))
        (order,) = mailbox.orders("xen1")
        assert (order.kind, order.job_id) == ("CANCEL", str(job.id))

    def test_a_machine_that_waited_for_a_host_is_not_made_a_second_time(
        self, site, make, dana, lab, alice, lan
    ):
        make("m1")  # so that there is an image
        site.look()
        Host.objects.update(state=Host.State.DRAINING)
        waiting = operations.create_machine(
            project=lab,
            owner=alice,
            name="m5",
            image=Machine.objects.get(name="m1").image,
            network=lan,
            vcpus=1,
            memory_mib=128,
            disk_gib=1,
            seed={"ssh_keys": [], "password_hash": "", "user_data": ""},
            host_name=None,
            requested_by=alice,
            now=NOW,
        )
        assert waiting.status == "PENDING"
        Host.objects.update(state=Host.State.ACTIVE)
        backup = transaction.savepoint()
        assert operations.sweep(now=NOW)["placed"] == 1
        dispatch.send(job_id=waiting.id, now=NOW)
        assert site.carry_out(waiting).status == "SUCCEEDED"
        transaction.savepoint_rollback(backup)
        assert Job.objects.get(id=waiting.id).status == "PENDING"

        site.host = Host.objects.get(name="xen1")
        site.look(now=LATER)
        assert restores.is_held()
        after_restore.confirm(staff=dana, now=LATER)
        operations.sweep(now=LATER)
        placed = Machine.objects.get(id=waiting.machine_id)
        assert placed.host.name == "xen1"
        dispatch.send(job_id=waiting.id, now=LATER)
        domains = site.worker_host.domains()
        assert site.carry_out(waiting, now=LATER).status == "SUCCEEDED"
        assert site.worker_host.domains() == domains


class TestAfterRestoreCommand:
    def test_holds_orders_ends_sessions_and_revokes_tokens(self, db, client, alice, dana, xen1):
        client.force_login(alice)
        _, secret = accounts.create_token(user=alice, name="script", expires_at=None, now=NOW)
        bearer = {"Authorization": f"Bearer {secret}"}
        assert client.get("/api/v1/me/", headers=bearer).status_code == 200
        status, said = run("after_restore", "--staff", "dana")
        assert status == 0
        assert "1 sessions ended" in said
        assert "1 API tokens revoked" in said
        assert client.get("/api/v1/me/", headers=bearer).status_code == 401
        assert client.get("/").status_code == 302
        assert restores.is_held()
        assert AuditEntry.objects.filter(action="REVOKE_TOKEN", actor=dana).count() == 1

    def test_can_keep_tokens(self, db, alice):
        accounts.create_token(user=alice, name="script", expires_at=None, now=NOW)
        assert "good again" in run("after_restore", "--keep-tokens")[1]
        assert ApiToken.objects.count() == 1


class TestStaff:
    @pytest.fixture(autouse=True)
    def _held(self, xen1, dana):
        restores.begin(why="xen1 was given an order for m3.", staff=None, now=NOW)

    def test_is_told_on_every_page_and_confirms_on_one(self, client, dana):
        client.force_login(dana)
        for address in ("/", "/machines/", "/hosts/", "/audit/"):
            assert b"restored from an older backup" in client.get(address).content
        page = client.get("/differences/").content.decode()
        assert "xen1 was given an order for m3." in page
        assert "manage.py readopt --all" in page
        answer = client.post("/differences/looked/", follow=True)
        assert b"Jobs are sent again." in answer.content
        assert not restores.is_held()

    def test_alone_confirms_and_everybody_is_told(self, client, alice, charlie):
        client.force_login(alice)
        page = client.get("/").content.decode()
        assert "is being checked by an administrator" in page
        assert "/differences/" not in page
        assert client.post("/differences/looked/").status_code == 404
        for name in (alice, charlie):
            client.force_login(name)
            assert client.get("/api/v1/restore/").status_code in (403, 404)
            assert client.post("/api/v1/restore/looked/").status_code in (403, 404)
        assert restores.is_held()

    def test_sees_and_confirms_it_in_the_api(self, client, dana):
        client.force_login(dana)
        shown = client.get("/api/v1/restore/").json()

        def looked():
            return client.post("/api/v1/restore/looked/", {}, content_type="application/json")

        assert (shown["is_held"], shown["why"]) == (True, "xen1 was given an order for m3.")
        assert looked().json()["is_held"] is False
        assert looked().status_code == 404


def test_a_host_that_was_observed_before_receipts_were_kept_is_none_the_worse(xen1):
    observe(xen1, now=LATER)
    assert not restores.is_held()
