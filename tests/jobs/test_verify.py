"""`manage.py verify`, over rows and over a real worker on the stand-in xl."""

import io
import json
import shutil
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from tests.fixtures import NOW, heard_until, observe
from tests.jobs.whole_site import register_image, running_site
from tests.moves import listens
from webxen.core.models import AuditEntry
from webxen.diagnostics.verify import verify
from webxen.inventory.models import Address, Host, Image
from webxen.jobs import operations
from webxen.jobs.models import Job
from webxen.machines.models import Disk, Machine
from webxen.quotas.models import Quota, Reservation
from worker.contract import DomainSeen
from worker.job.journal import write_fence

#: an observation made now is later than anything that happened at NOW
LATER = NOW + timedelta(seconds=20)


@pytest.fixture
def site(db, tmp_path, mailbox, xen1_key):
    with running_site(tmp_path, mailbox, xen1_key) as site:
        yield site


@pytest.fixture
def image(site):
    return register_image(site.worker_host)


@pytest.fixture
def make(site, image, lab, alice, lan):
    """Make a machine of alice's through both sides; it runs."""

    def make(name="web1"):
        job = operations.create_machine(
            project=lab,
            owner=alice,
            name=name,
            image=image,
            network=lan,
            vcpus=1,
            memory_mib=128,
            disk_gib=1,
            seed={"ssh_keys": [], "password_hash": "", "user_data": ""},
            host_name="xen1",
            requested_by=alice,
            now=NOW,
        )
        site.send(job)
        site.carry_out(job)
        assert job.status == "SUCCEEDED", job.error_message
        return Machine.objects.get(id=job.machine_id)

    return make


def codes(verdict):
    return [finding.code for finding in verdict.findings]


def look(*, host=None, fixed_by=None, now=LATER):
    return verify(host=host, fixed_by=fixed_by, now=now)


def rows():
    """Every row of every table."""
    with connection.cursor() as cursor:
        found = {}
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}" ORDER BY 1')
            found[table] = cursor.fetchall()
    return found


def run(*words):
    """Run the command; its exit status and what it printed."""
    out = io.StringIO()
    try:
        call_command("verify", *words, stdout=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


class TestRealHost:
    def test_agrees_after_a_machine_was_made_and_after_it_was_deleted(self, site, make, alice):
        web1 = make()
        site.look(now=LATER)
        assert codes(look()) == []
        assert "1 machines, 1 domains, 1 volumes. No differences." in look().summary
        job = operations.delete_machine(user=alice, machine_id=web1.id, now=LATER)
        site.send(job)
        assert site.carry_out(job, now=LATER).status == "SUCCEEDED"
        site.look(now=LATER + timedelta(seconds=20))
        assert codes(look(now=LATER + timedelta(seconds=20))) == []

    def test_is_not_judged_on_a_look_made_before_a_job_ended(self, site, make):
        make()
        site.look(domains=())
        assert codes(look(now=NOW)) == []

    def test_planted_differences_are_all_found_and_nothing_is_changed(self, site, make, lab):
        plant_all(site, make, lab)
        before, files = rows(), site.files()
        found = look()
        assert sorted(set(codes(found))) == PLANTED
        assert rows() == before
        assert site.files() == files

    def test_fix_mends_what_is_safe_and_touches_no_disk_and_no_domain(self, site, make, lab, dana):
        web1, _ = plant_all(site, make, lab)
        files, domains = site.files(), site.worker_host.domains()
        after = look(fixed_by=dana)
        assert set(codes(after)) == set(PLANTED) - MENDED
        assert (site.files(), site.worker_host.domains()) == (files, domains)
        web1.refresh_from_db()
        assert (web1.power, web1.fence) == ("RUNNING", 7)
        mended = set(AuditEntry.objects.filter(action__startswith="MEND_").values_list("action", flat=True))
        # one settling of the ledger mends both of its codes
        assert mended | {"MEND_QUOTA_DRIFT", "MEND_RESERVATION_LOST"} == {f"MEND_{code}" for code in MENDED}

    def test_after_a_backup_was_restored_the_host_obeys_again_once_fixed(self, site, make, alice, dana):
        web1 = make()
        write_fence(site.worker_host.settings.fence_file(str(web1.id)), 7)
        site.look(now=LATER)
        job = operations.act(action="reboot", user=alice, machine_id=web1.id, now=LATER)
        site.send(job)
        assert site.carry_out(job, now=LATER).error_code == "FENCED"

        late = LATER + timedelta(seconds=20)
        site.look(now=late)
        assert codes(look(now=late)) == ["FENCE_BEHIND"]
        assert codes(look(now=late, fixed_by=dana)) == []
        job = operations.act(action="reboot", user=alice, machine_id=web1.id, now=late)
        site.send(job)
        assert site.carry_out(job, now=late).status == "SUCCEEDED"


#: what `plant_all` plants
PLANTED = [
    "ADDRESS_NOT_HELD",
    "ADDRESS_OF_DELETED",
    "DOMAIN_UNKNOWN",
    "FENCE_BEHIND",
    "HOST_MEMORY_DRIFT",
    "IMAGE_DIFFERS",
    "JOB_OVERDUE",
    "MEMORY_WRONG",
    "POWER_WRONG",
    "QUOTA_DRIFT",
    "RESERVATION_LOST",
    "VCPUS_WRONG",
    "VOLUME_MISSING",
    "VOLUME_ORPHAN",
]
MENDED = {
    "ADDRESS_OF_DELETED",
    "FENCE_BEHIND",
    "HOST_MEMORY_DRIFT",
    "POWER_WRONG",
    "QUOTA_DRIFT",
    "RESERVATION_LOST",
}


def plant_all(site, make, lab):
    """Two machines, and every kind of trouble with them."""
    web1, web2 = make("web1"), make("web2")
    start_by_hand(site)
    write_fence(site.worker_host.settings.fence_file(str(web1.id)), 7)
    (site.state / "disks/left-over").mkdir()
    (site.state / "disks/left-over/old.img").write_bytes(b"somebody's data")
    shutil.rmtree(site.state / f"disks/{web2.id}")
    Machine.objects.filter(id=web2.id).update(vcpus=2, memory_mib=512)
    Host.objects.update(memory_reserved_mib=896)
    Quota.objects.filter(project=lab).update(vcpus_reserved=7)
    Reservation.objects.create(
        quota=Quota.objects.get(project=lab),
        holder=uuid4(),
        vcpus=0,
        memory_mib=0,
        disk_gib=0,
        created_at=NOW,
    )
    Quota.objects.filter(project=lab).update(machines_reserved=3)
    Address.objects.filter(holder=web2.id).update(ipv4="10.0.2.190")
    network = Address.objects.get(holder=web1.id).network
    Address.objects.create(network=network, ipv4="10.0.2.180", mac="00:16:3e:0:0:9", holder=uuid4())
    Image.objects.update(sha256="f" * 64)
    Job.objects.create(
        kind="CREATE", machine=make_nothing(web1), host=web1.host, fence=1, created_at=NOW - timedelta(days=1)
    )
    Host.objects.update(heard_since=NOW - timedelta(days=1))
    site.look(now=LATER)
    Machine.objects.filter(id=web1.id).update(power="OFF")
    return web1, web2


def make_nothing(like):
    """A machine whose create was lost a day ago."""
    machine = Machine.objects.create(
        name="lost",
        project=like.project,
        owner=like.owner,
        host=like.host,
        image=like.image,
        state="FAILED",
        power="UNKNOWN",
        vcpus=1,
        memory_mib=128,
        created_at=NOW,
    )
    Disk.objects.create(machine=machine, size_gib=1, vdev="xvda")
    return machine


def start_by_hand(site):
    """What an administrator may do on the host beside us."""
    path = site.worker_host.directory / "by-hand.cfg"
    path.write_text(
        'name = "by-hand"\nmemory = 64\nvcpus = 1\ntype = "pv"\n'
        f'kernel = "{site.worker_host.settings.kernels_dir}/vmlinuz"\nuuid = "{uuid4()}"\ndisk = []\n'
    )
    site.xl.create(path)


class TestRows:
    """Without a worker: what the host says is made up."""

    def test_a_machine_on_two_hosts_is_named_first(self, web1):
        seen = machine_domain(web1)
        for host in (web1.host, Host.objects.create(name="xen2", created_at=NOW)):
            observe(host, domains=(seen,), now=LATER)
        assert codes(look())[0] == "MACHINE_RUNS_TWICE"

    def test_a_silent_host_is_not_judged(self, web1):
        observe(web1.host, now=NOW)
        verdict = look(now=NOW + timedelta(hours=1))
        assert codes(verdict) == ["HOST_SILENT"]
        assert "60 min ago" in verdict.findings[0].said

    def test_a_host_that_nobody_accepted_is_not_missed(self, db):
        Host.objects.create(name="xen2", state="NEW", created_at=NOW)
        assert codes(look()) == []

    def test_a_removed_host_is_missed_as_long_as_a_machine_should_be_on_it(self, web1):
        Host.objects.update(state="REMOVED", observed_at=None)
        assert codes(look()) == ["HOST_SILENT"]

    def test_a_worker_that_says_nothing_of_its_disks_is_named(self, web1):
        observe(web1.host, domains=(machine_domain(web1),), now=LATER)
        assert codes(look()) == ["HOLDINGS_UNSEEN"]

    def test_what_was_kept_of_a_host_and_cannot_be_read_is_not_believed(self, web1):
        observe(web1.host, domains=(machine_domain(web1),), now=LATER)
        Host.objects.update(holdings={"volumes": 7})
        assert set(codes(look())) == {"DOMAINS_UNREADABLE", "HOLDINGS_UNSEEN"}

    def test_only_the_host_asked_for_is_told_of(self, web1):
        Host.objects.create(name="xen2", created_at=NOW)
        observe(web1.host, domains=(machine_domain(web1),), now=LATER)
        assert set(codes(look())) == {"HOLDINGS_UNSEEN", "HOST_SILENT"}
        assert codes(look(host="xen2")) == ["HOST_SILENT"]

    def test_a_fix_that_the_database_refuses_is_left_to_a_human(self, web1, make_machine, dana):
        """The machines hold more than the host has: no sum of theirs can be written down."""
        observe(web1.host, domains=(machine_domain(web1),), now=LATER)
        Machine.objects.update(memory_mib=web1.host.memory_mib + 1)
        verdict = look(fixed_by=dana)
        assert "HOST_MEMORY_DRIFT" in codes(verdict)
        assert not any("reserved" in said for said in verdict.mended)


def machine_domain(machine):
    return DomainSeen(
        domain="web1",
        uuid=str(machine.id),
        domid=3,
        power="RUNNING",
        memory_mib=machine.memory_mib,
        vcpus=machine.vcpus,
    )


class TestCommand:
    def test_ends_with_0_when_all_agrees(self, db):
        assert run() == (0, "Compared: 0 of 0 hosts, 0 machines, 0 domains, 0 volumes. No differences.\n")

    def test_ends_with_2_when_it_could_not_look(self, web1):
        Host.objects.update(observed_at=None)
        status, text = run()
        assert status == 2
        assert "HOST_SILENT" in text

    def test_ends_with_1_when_something_differs(self, web1, dana):
        Host.objects.update(observed_at=None)
        Quota.objects.update(disk_gib_reserved=5)
        status, text = run()
        assert status == 1
        assert "QUOTA_DRIFT [--fix]" in text
        with pytest.raises(CommandError, match="no such one"):
            run("--fix", "--staff", "alice")
        assert run("--fix")[0] == 2
        assert "QUOTA_DRIFT" not in run()[1]

    def test_speaks_json(self, web1):
        Host.objects.update(observed_at=None)
        status, text = run("--json")
        said = json.loads(text)
        assert said["status"] == status == 2
        assert said["findings"][0]["code"] == "HOST_SILENT"

    def test_says_when_there_is_no_such_host(self, db):
        with pytest.raises(CommandError) as end:
            run("--host", "nowhere")
        assert (end.value.returncode, str(end.value)) == (2, "There is no host named nowhere.")


class TestMove:
    def test_under_way_is_looked_at_and_late_only_after_its_own_deadline(self, start_move, now):
        job = start_move()
        listens(job)
        job.refresh_from_db()
        assert job.status == "RUNNING"
        late = timedelta(seconds=job.move.deadline_seconds + 120)
        for at, codes in ((now + late - timedelta(seconds=240), set()), (now + late, {"JOB_OVERDUE"})):
            heard_until(at)
            found = {finding.code for finding in verify(host=None, fixed_by=None, now=at).findings}
            assert found & {"JOB_OVERDUE"} == codes
