"""`manage.py burnin`: every verb, and what it does about failures, Ctrl-C and others' machines."""

import contextlib
import dataclasses
import io
import json
import threading
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection

from devtools.lab.services import service_lines
from tests.fixtures import NOW, use_broker
from tests.jobs.whole_site import register_image, running_site
from tests.worker.console_bench import Broker, wait_for
from tests.worker.whole import take_said
from tests.worker.worker_host import WorkerHost
from webxen.accounts.models import Project
from webxen.celery import app
from webxen.core import clock, portal_key
from webxen.core.models import AuditEntry
from webxen.diagnostics import burnin
from webxen.diagnostics.burnin_result import Result, Step
from webxen.inbox import tasks
from webxen.inventory import operations as inventory
from webxen.inventory.models import Host, Size
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.quotas.models import Quota, Reservation


class Clock:
    """Goes on a little whenever somebody looks at it."""

    def __init__(self):
        self.at = NOW

    def __call__(self):
        self.at += timedelta(milliseconds=50)
        return self.at


class Desk:
    """A staff member at a terminal, and the host at work while she waits."""

    def __init__(self, site):
        self.site, self.clock, self.said = site, Clock(), []
        self.rests, self.interrupt_at = 0, None

    def rest(self):
        self.rests += 1
        if self.rests == self.interrupt_at:
            raise KeyboardInterrupt
        self.site.turn(now=self.clock())

    def prepare(self, **changed):
        wanted = {"host": "xen1", "machines": 1, "image": "minimal", "size": "tiny", "staff": None}
        return burnin.prepare(**{**wanted, "is_keeping": False, "now": self.clock(), **changed})

    def run(self, *verbs, **changed):
        plan = dataclasses.replace(self.prepare(**changed), verbs=verbs)
        return burnin.run(plan=plan, clock=self.clock, rest=self.rest, say=self.said.append)


@pytest.fixture
def tiny(db):
    return Size.objects.create(slug="tiny", name="Tiny", vcpus=1, memory_mib=128, disk_gib=1)


@pytest.fixture
def desk(transactional_db, tmp_path, mailbox, xen1_key, dana, tiny, lan):
    with running_site(tmp_path, mailbox, xen1_key) as site:
        register_image(site.worker_host)
        yield Desk(site)


class TestRun:
    def test_leaves_nothing(self, desk, dana):
        result = desk.run("create", "delete", machines=2)
        assert [step.verb for step in result.steps] == ["create", "create", "delete", "delete"]
        assert result.has_passed, result.as_text()
        assert not Machine.objects.exclude(state="DELETED").exists()
        assert not Reservation.objects.exclude(status="RELEASED").exists()
        assert desk.site.worker_host.domains() == []
        line = AuditEntry.objects.get(action="BURNIN_HOST")
        assert (line.actor, line.target_name) == (dana, "xen1")

    def test_keeps_the_machines_when_asked_to(self, desk):
        assert "delete" not in desk.prepare(is_keeping=True).verbs
        result = desk.run("create", is_keeping=True)
        machine = Machine.objects.get()
        assert (machine.state, machine.power, machine.project.slug) == ("READY", "RUNNING", "burnin")
        assert result.left == ()

    def test_a_failing_verb_is_told_and_cleaned_up_after(self, desk):
        desk.site.worker_host.stand_in.lay_out(create={"exit": 1, "stderr": "out of luck", "times": 1})
        result = desk.run("create", "delete")
        (failed,) = result.failures
        assert failed.verb == "create"
        assert not result.has_passed
        assert f"{failed.machine} create: {failed.failure}" in result.as_text()
        assert not Machine.objects.exclude(state="DELETED").exists()

    def test_a_success_that_the_host_does_not_show_is_a_failure(self, desk):
        """The job says SUCCEEDED, and somebody destroys the domain at once."""
        look = desk.site.look
        desk.site.look = lambda *, now: look(now=now, domains=())
        desk.rest = lambda: (
            desk.site.turn(now=desk.clock()),
            setattr(desk.clock, "at", desk.clock.at + LATE),
        )
        (failed,) = desk.run("create").failures
        assert (failed.verb, failed.failure) == (
            "create",
            "the job succeeded, but no new running domain of it is listed",
        )

    def test_a_host_with_a_difference_of_what_it_made_does_not_pass(self, desk):
        turn = desk.site.turn

        def leave_a_disk(*, now):
            turn(now=now)
            for machine in Machine.objects.filter(state="READY"):
                disk = desk.site.state / f"disks/{machine.id}/second.img"
                disk.write_bytes(b"nobody asked for it")
                desk.clock.at += LATE
                desk.site.look(now=desk.clock.at)

        desk.site.turn = leave_a_disk
        result = desk.run("create", is_keeping=True)
        assert result.failures == ()
        assert not result.has_passed
        assert [said.partition(":")[0] for said in result.found] == ["VOLUME_ORPHAN"]

    def test_what_others_left_or_run_on_the_host_is_no_fault_of_it(self, desk):
        (desk.site.state / "disks/left-over").mkdir()
        (desk.site.state / "disks/left-over/old.img").write_bytes(b"somebody's data")
        result = desk.run("create", "delete")
        assert result.found == ()
        assert result.has_passed, result.as_text()


LATE = timedelta(seconds=15)


class TestCtrlC:
    @pytest.mark.parametrize("at", [1, 2])
    def test_deletes_what_was_made_and_nothing_else(self, desk, at):
        desk.run("create", is_keeping=True)
        bystander = Machine.objects.get()
        desk.rests, desk.interrupt_at = 0, at
        result = desk.run("create", "delete")
        assert (result.is_interrupted, result.left, result.has_passed) == (True, (), False)
        assert "stopped after" in result.summary
        assert list(Machine.objects.exclude(state="DELETED")) == [bystander]
        assert desk.site.worker_host.domains() == [str(bystander.id)]
        assert not Job.objects.filter(status__in=Job.OPEN).exists()


class TestRefusal:
    def why(self, desk, **changed):
        with pytest.raises(burnin.BurninRefusedError) as refusal:
            desk.prepare(**changed)
        assert not Machine.objects.exists()
        return str(refusal.value)

    def test_of_a_host_that_drains(self, desk):
        Host.objects.update(state="DRAINING")
        assert self.why(desk) == "xen1 cannot take 1 machines of size tiny: does not accept new machines."

    def test_of_a_silent_host(self, desk):
        assert "is not responding" in self.why(desk, now=NOW + timedelta(hours=1))

    def test_of_more_than_there_is_room_for(self, desk):
        assert "of disk space free and not reserved, 100 GiB needed" in self.why(desk, machines=100)
        assert not Quota.objects.filter(project__slug="burnin").exists()

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"host": "xen9"}, "There is no host named xen9."),
            ({"image": "nothing"}, "There is no image nothing."),
            ({"size": "huge"}, "There is no size huge."),
            ({"staff": "charlie"}, "Staff starts a burn-in, and there is no such member of staff."),
        ],
    )
    def test_of_what_is_not_there(self, desk, charlie, changed, why):
        assert self.why(desk, **changed) == why

    def test_is_told_by_the_command(self, desk):
        with pytest.raises(CommandError) as end:
            call_command("burnin", "xen9")
        assert end.value.returncode == 2
        assert str(end.value) == "There is no host named xen9."
        with pytest.raises(CommandError, match="a number from 1 to 100"):
            call_command("burnin", "xen1", "--machines", "0")


class TestResult:
    RESULT = Result(
        "xen1", (Step("a", "create", 2.0), Step("b", "create", 4.0), Step("a", "start", 1.0, "no"))
    )

    def test_counts_each_verb(self):
        assert self.RESULT.verbs() == [("create", 2, 0, 3.0, 4.0), ("start", 1, 1, 0.0, 0.0)]

    def test_nothing_done_is_nothing_passed(self):
        assert not Result("xen1", ()).has_passed

    def test_is_told_as_json(self):
        said = json.loads(json.dumps(self.RESULT.as_json()))
        assert (said["passed"], said["failures"]) == (
            False,
            [{"machine": "a", "verb": "start", "why": "no"}],
        )


@pytest.mark.slow
class TestRealWorker:
    def test_a_machine_through_a_real_redis(self, whole_site):
        """The command as an administrator starts it; worker, consoled and observe as processes."""
        out = io.StringIO()
        with whole_site.hearing():
            call_command("burnin", "xen1", "--machines", "1", stdout=out)
        assert "Burn-in of xen1 passed: 7 steps, verify is clean." in out.getvalue()
        assert Project.objects.get(slug="burnin").machines.count() == 1


@pytest.fixture
def whole_site(transactional_db, tmp_path, dana, tiny, lan):
    broker = Broker(tmp_path)
    broker.start()
    before = app.conf.broker_url
    use_broker(broker.url.replace("unix://", "redis+socket://"))
    worker_host = WorkerHost(tmp_path, broker_url=broker.url)
    try:
        yield WholeSite(worker_host, broker)
    finally:
        worker_host.close()
        use_broker(before)
        broker.stop()


class WholeSite:
    """A dom0 with its three processes, and the portal's reports worker in this one."""

    def __init__(self, worker_host, broker):
        self.worker_host, self.broker = worker_host, broker
        register_image(worker_host)
        (worker_host.directory / "portal.pub").write_bytes(
            portal_key.public_pem(django_settings.WEBXEN_PORTAL_KEY_FILE).encode()
        )
        inventory.accept_host(name="xen1", public_key=worker_host.host_public.decode(), now=clock.now())
        devices = worker_host.directory / "net"
        (devices / "xenbr0/bridge").mkdir(parents=True)
        for name, argv in service_lines("xen1").items():
            worker_host.process(*argv[1:], log=f"{name}.txt", env={"WEBXEN_NETWORK_DIR": str(devices)})
        wait_for(self.is_seen, "the first look", 60)
        self._is_over = threading.Event()

    def is_seen(self):
        self.hear()
        return Host.objects.get(name="xen1").observed_at is not None

    @contextlib.contextmanager
    def hearing(self):
        """What the reports worker does, while the command runs."""
        thread = threading.Thread(target=self._hear_on)
        thread.start()
        yield
        self._is_over.set()
        thread.join()

    def _hear_on(self):
        while not self._is_over.wait(0.05):
            self.hear()
        connection.close()

    def hear(self):
        with self.broker.client() as client:
            for item in take_said(client, "xen1"):
                tasks.receive(item.task, item.untrusted_envelope)
