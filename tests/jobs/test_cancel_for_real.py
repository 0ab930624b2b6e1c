"""A job that nobody had begun is cancelled: real Redis, the host's own processes, the portal's own code.

The order lies on the host's queue before the cancel does, as it does when the host's door was down meanwhile.
"""

import base64
import functools
import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.fixtures import use_broker
from tests.jobs.closed_broker import ClosedBroker
from tests.jobs.whole_site import register_image
from tests.worker.worker_host import WorkerHost
from webxen.celery import app
from webxen.core import portal_key
from webxen.inbox import tasks
from webxen.inventory import operations as inventory
from webxen.inventory.models import Host
from webxen.jobs import dispatch, operations
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from worker import contract
from worker.contract import membership

PASSWORD = "the-hosts-own-password-of-this-test"
CELERY = ("-m", "celery", "-A", "worker.listener.celery_app", "worker", "-l", "INFO")
LEAN = ("--without-mingle", "--without-gossip", "--without-heartbeat")


def now():
    return datetime.now(UTC)


class World:
    def __init__(self, worker_host, broker):
        self.worker_host, self.broker = worker_host, broker
        self.doors = []

    def open_door(self, count=1):
        for _ in range(count):
            name = f"door{len(self.doors)}"
            self.doors.append(
                self.worker_host.process(*CELERY, "-n", f"{name}@dom0", *LEAN, log=f"{name}.txt")
            )

    def close_doors(self):
        for door in self.doors:
            if door.poll() is None:
                os.killpg(door.pid, signal.SIGKILL)
                door.wait()

    def pump(self):
        """What the portal's reports process does."""
        doors = {
            contract.TASK_REPORT: tasks.receive_report,
            contract.TASK_OBSERVATION: tasks.receive_observation,
        }
        queues = [contract.report_queue_for("xen1"), contract.observation_queue_for("xen1")]
        with self.broker.client() as client:
            while found := client.brpop(queues, timeout=0.01):
                message = json.loads(found[1])
                doors[message["headers"]["task"]](json.loads(base64.b64decode(message["body"]))[0][0])

    def wait(self, is_so, what, seconds=60):
        deadline = time.monotonic() + seconds
        while not is_so():
            self.pump()
            assert time.monotonic() < deadline, f"waited for {what}\n{self.logs()}"
            time.sleep(0.1)

    def logs(self):
        return "\n".join(path.read_text()[-3000:] for path in self.worker_host.directory.glob("*.txt"))

    def end_of(self, job, seconds=60):
        self.wait(lambda: Job.objects.get(id=job.id).status not in Job.OPEN, f"the end of {job}", seconds)
        return Job.objects.get(id=job.id)

    def waiting(self):
        """How many messages lie on the host's queue, of every priority."""
        with self.broker.client() as client:
            return sum(client.llen(key) for key in client.keys("dom0.xen1*") if b"unacked" not in key)

    def take_order(self):
        """Take the only message off the host's queue: where it lay, and what it is."""
        assert self.waiting() == 1
        with self.broker.client() as client:
            (key,) = (key for key in client.keys("dom0.xen1*") if b"unacked" not in key and client.llen(key))
            return key, client.rpop(key)

    def put_back(self, order):
        key, message = order
        with self.broker.client() as client:
            client.lpush(key, message)


@pytest.fixture
def world(tmp_path, settings, transactional_db):
    for name in ("broker", "worker_host"):
        (tmp_path / name).mkdir()
    settings.WEBXEN_PORTAL_KEY_FILE = tmp_path / "portal.key"
    portal_key.make_portal_key(settings.WEBXEN_PORTAL_KEY_FILE)
    broker = ClosedBroker(tmp_path / "broker", hosts={"xen1": PASSWORD})
    before = app.conf.broker_url
    settings.WEBXEN_REDIS_URL = broker.portal_url
    use_broker(broker.portal_url)
    worker_host = WorkerHost(
        tmp_path / "worker_host", broker_url=broker.url_for(membership.account_name("xen1"), PASSWORD)
    )
    (worker_host.directory / "portal.pub").write_text(portal_key.public_pem(settings.WEBXEN_PORTAL_KEY_FILE))
    inventory.accept_host(name="xen1", public_key=worker_host.host_public.decode(), now=now())
    worker_host.listen()
    world = World(worker_host, broker)
    worker_host.process("-m", "worker.agent.daemon", log="agent.txt")
    yield world
    worker_host.close()
    use_broker(before)
    broker.stop()


def create(alice, project, name, image):
    return operations.create_machine(
        project=project,
        owner=alice,
        name=name,
        image=image,
        network=None,
        vcpus=1,
        memory_mib=128,
        disk_gib=1,
        seed={"ssh_keys": [], "password_hash": "", "user_data": ""},
        host_name=None,
        requested_by=alice,
        now=now(),
    )


def is_untouched(world, machine):
    """It runs, alone, and has its disk."""
    disks = world.worker_host.settings.disks_dir / str(machine.id)
    return world.worker_host.domains() == [str(machine.id)] and bool(list(disks.glob("*.img")))


@pytest.fixture
def web1(world, alice, lab, small):
    """A machine that the host has made and that runs."""
    image = register_image(world.worker_host)
    world.open_door()
    world.wait(lambda: Host.objects.get().observed_at, "the host's first word")
    job = create(alice, lab, "web1", image)
    ended = world.end_of(job)
    assert ended.status == "SUCCEEDED", (ended.error_message, world.logs())
    world.close_doors()
    return Machine.objects.get(id=job.machine_id)


def send_again(job):
    """What the sweep does for one that nobody has acknowledged."""
    assert dispatch.send(job_id=job.id, now=now()) == dispatch.Outcome.SENT


#: each verb, and by how many doors the order and its cancel are read
VERBS = {"delete": 1, "poweroff": 2, "reboot": 1, "shutdown": 2}


@pytest.mark.slow
class TestJobThatNobodyBegan:
    """One host and one machine for all of it, which must be there at the end."""

    def test_is_never_carried_out(self, world, web1, alice):
        for verb, doors in VERBS.items():
            act = functools.partial(operations.act, action=verb)
            job = (operations.delete_machine if verb == "delete" else act)(
                user=alice, machine_id=web1.id, now=now()
            )
            for _ in range(3):
                send_again(job)
            order = world.take_order()
            operations.cancel_job(user=alice, job_id=job.id, now=now())
            # an order that nothing takes the place of: an older portal has sent it
            world.put_back(order)
            assert (verb, world.waiting()) == (verb, 2)
            world.open_door(doors)
            assert (verb, world.end_of(job).status) == (verb, "CANCELLED")
            world.wait(lambda: world.waiting() == 0, "the queue to be read")
            world.close_doors()
            web1.refresh_from_db()
            assert (verb, web1.state) == (verb, "READY")
            assert is_untouched(world, web1)

    def test_is_cancelled_whatever_becomes_of_the_messages(self, world, web1, alice):
        self._of_a_create_leaves_nothing(world, web1, alice)
        self._is_not_carried_out_where_the_cancels_own_message_was_lost(world, web1, alice)
        self._is_cancelled_as_soon_as_the_broker_is_back(world, web1, alice)

    def _of_a_create_leaves_nothing(self, world, web1, alice):
        job = create(alice, web1.project, "web2", web1.image)
        send_again(job)
        operations.cancel_job(user=alice, job_id=job.id, now=now())
        world.open_door()
        assert world.end_of(job).status == "CANCELLED"
        world.wait(lambda: world.waiting() == 0, "the queue to be read")
        world.close_doors()
        assert is_untouched(world, web1)
        assert not (world.worker_host.settings.disks_dir / str(job.machine_id)).exists()

    def _is_not_carried_out_where_the_cancels_own_message_was_lost(self, world, web1, alice):
        job = operations.delete_machine(user=alice, machine_id=web1.id, now=now())
        operations.cancel_job(user=alice, job_id=job.id, now=now())
        with world.broker.client() as client:
            assert client.llen("dom0.xen1") == 1
            client.delete("dom0.xen1")  # the broker lost what it was given last
        at = now() + timedelta(seconds=31)
        Host.objects.update(observed_at=at)
        assert operations.sweep(now=at)["sent"] == 1
        world.open_door()
        assert world.end_of(job).status == "CANCELLED"
        world.close_doors()
        assert is_untouched(world, web1)

    def _is_cancelled_as_soon_as_the_broker_is_back(self, world, web1, alice):
        job = operations.delete_machine(user=alice, machine_id=web1.id, now=now())
        world.broker.stop()
        job = operations.cancel_job(user=alice, job_id=job.id, now=now())
        job.refresh_from_db()
        assert job.waiting_for == dispatch.CANCEL_AWAY
        world.broker.start()
        assert operations.sweep(now=now() + timedelta(seconds=1))["sent"] == 1
        world.open_door()
        assert world.end_of(job).status == "CANCELLED"
        assert is_untouched(world, web1)
