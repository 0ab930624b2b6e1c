"""A host joins, is accepted, works, and every key there is changes under it: real processes, Redis, TLS.

Nothing is restarted for a key; the worker's answer to an order after each step is the proof.
"""

import contextlib
import json
import re
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from tests.fixtures import use_broker
from tests.jobs.closed_broker import ClosedBroker
from tests.worker.whole import take_said
from tests.worker.worker_host import ROOT, WorkerHost
from webxen.celery import app
from webxen.core import portal_key
from webxen.enrolment import joining, trust
from webxen.inbox import tasks
from webxen.inventory import queries
from webxen.inventory.models import Host
from webxen.jobs import dispatch
from worker import contract
from worker.cli.join import Files
from worker.contract import membership
from worker.identity import keys
from worker.ipc import local_socket

CELERY = [
    "-m",
    "celery",
    "-A",
    "worker.listener.celery_app",
    "worker",
    "-n",
    "xen1@dom0",
    "-l",
    "INFO",
]
CELERY += ["--without-mingle", "--without-gossip", "--without-heartbeat"]


def now():
    return datetime.now(UTC)


class World:
    """The portal in this process, the host in its own."""

    def __init__(self, worker_host, broker, portal_url, etc):
        self.worker_host, self.broker, self.portal_url, self.etc = worker_host, broker, portal_url, etc
        self.name = "xen1"
        self.ends = {}
        self.portals = broker.client()  # one connection: TLS is not shaken hands on at each look

    @property
    def host(self):
        return Host.objects.get(name=self.name)

    def command(self, *words):
        """Run `webxen-worker` on the host."""
        return subprocess.run(
            [sys.executable, "-m", "worker", "--etc", str(self.etc), *words],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            check=False,
        )

    def start_host(self):
        lines = (self.etc / "worker.env").read_text().splitlines()
        env = {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}
        # as the units of systemd do it, with a credential
        env["WEBXEN_BROKER_URL_FILE"] = str(self.etc / "broker.url")
        self.worker_host.process("-m", "worker.agent.daemon", log="agent.txt", env=env)
        self.worker_host.process(*CELERY, log="celery.txt", env=env)
        self.worker_host.process("-m", "worker.console.daemon", log="consoled.txt", env=env)

    def recheck(self):
        """Come as one more listener: the host then speaks at once, and not only every ten seconds."""
        with (
            local_socket.connect(self.worker_host.settings.agent_socket) as listener,
            contextlib.suppress(TimeoutError),
        ):
            listener.settimeout(3)
            local_socket.send(listener, local_socket.Word.NEXT)
            if frame := local_socket.receive(listener):
                is_report = frame.word is local_socket.Word.REPORT
                (tasks.receive_report if is_report else tasks.receive_observation)(frame.envelope)
                local_socket.send(listener, local_socket.Word.ACK)

    def pump(self):
        """What the portal's reports process does: give each envelope to its listener."""
        for item in take_said(self.portals, self.name):
            tasks.receive(item.task, item.untrusted_envelope)
            said = json.loads(json.loads(item.untrusted_envelope)["signed"])["message"]
            if said["kind"] == "REPORT" and said["event"] in ("SUCCEEDED", "FAILED"):
                self.ends[said["job_id"]] = said["event"]

    def wait(self, is_so, what, seconds=40):
        deadline = time.monotonic() + seconds
        while not is_so():
            self.pump()
            assert time.monotonic() < deadline, f"waited for {what}\n{self.logs()}"
            time.sleep(0.1)

    def logs(self):
        names = ("celery.txt", "agent.txt")
        return "\n".join((self.worker_host.directory / name).read_text()[-3000:] for name in names)

    def obeys(self, portal_key_file):
        """Does the host do what the portal orders now?"""
        order = self.worker_host.order("delete", self.worker_host.machine())
        sign = portal_key.signer_for(portal_key_file, trusted=self.host.portal_keys)
        envelope = contract.seal(order, host=self.name, sign=sign, not_after=int(time.time()) + 600)
        dispatch.ring(host=self.name, job_id=uuid.UUID(order.job_id), envelope=envelope)
        self.wait(lambda: order.job_id in self.ends, "the end of a job")
        return self.ends[order.job_id] == "SUCCEEDED"


@pytest.fixture
def portal_key_file(tmp_path, settings):
    settings.WEBXEN_PORTAL_KEY_FILE = tmp_path / "portal.key"
    portal_key.make_portal_key(settings.WEBXEN_PORTAL_KEY_FILE)
    return settings.WEBXEN_PORTAL_KEY_FILE


@pytest.fixture
def world(tmp_path, settings, transactional_db, live_server, portal_key_file):
    for name in ("broker", "worker_host"):
        (tmp_path / name).mkdir()
    broker = ClosedBroker(tmp_path / "broker", is_tls=True)
    settings.WEBXEN_BROKER_CA_FILE = str(broker.ca_file)
    settings.WEBXEN_REDIS_URL = membership.with_ca(broker.portal_url, str(broker.ca_file))
    settings.WEBXEN_BROKER_PUBLIC_URL = broker.url
    before = app.conf.broker_url
    use_broker(settings.WEBXEN_REDIS_URL)
    worker_host = WorkerHost(tmp_path / "worker_host")
    world = World(worker_host, broker, live_server.url, tmp_path / "etc")
    yield world
    world.portals.close()
    worker_host.close()
    use_broker(before)
    broker.stop()


@pytest.mark.slow
def test_a_host_joins_and_every_key_changes_under_it(world, dana, portal_key_file):
    _, token = joining.make_token(staff=dana, name="xen1", is_rejoin=False, now=now())
    done = world.command("join", world.portal_url, token)
    assert done.returncode == 0, done.stderr
    said = re.search(r"SHA256:\S+", done.stdout)[0]
    assert said == queries.fingerprint_of(host=world.host)
    files = {path.name: oct(path.stat().st_mode & 0o777) for path in world.etc.iterdir()}
    assert files.pop("broker-ca.pem") == "0o644"  # the listener is not root
    secret = ("broker.url", "host.key", "portal.pub", "worker.env")
    assert files == dict.fromkeys(secret, "0o600")
    assert token not in (world.etc / "worker.env").read_text()
    # the token is used up, and the host's key is not overwritten
    assert "already" in world.command("join", world.portal_url, token).stderr
    assert "not admitted" in world.command("join", world.portal_url, token, "--force").stderr

    world.start_host()
    world.wait(lambda: world.host.observed_at is not None, "the host's first words")
    assert (world.host.state, world.host.memory_mib) == ("NEW", 0)
    joining.accept(staff=dana, host_id=world.host.id, fingerprint=said, now=now())
    assert world.obeys(portal_key_file)

    change_the_portals_key(world, portal_key_file)
    change_the_hosts_key(world, portal_key_file)
    change_the_password(world, portal_key_file)
    take_it_out(world, dana)


LONGEST = f"{'x' * 40}.{'y' * 22}"


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["XEN1.Example.ORG", LONGEST], ids=["capitals", "63 characters"])
def test_a_host_with_a_name_of_the_dns_joins_obeys_and_shows_its_consoles(
    world, dana, client, portal_key_file, typed
):
    """One rule for the name, from the portal's form to the streams of a console."""
    assert len(LONGEST) == contract.MAX_HOST_NAME
    world.name = typed.lower()
    _, token = joining.make_token(staff=dana, name=typed, is_rejoin=False, now=now())
    done = world.command("join", world.portal_url, token)
    assert done.returncode == 0, done.stderr
    env = world.etc / "worker.env"
    # as an administrator might write it into the host's settings
    env.write_text(env.read_text().replace(world.name, typed))
    assert world.command("refresh").returncode == 0
    world.start_host()
    joining.accept(
        staff=dana, host_id=world.host.id, fingerprint=queries.fingerprint_of(host=world.host), now=now()
    )
    world.wait(lambda: world.host.memory_mib, "the host's first words that are believed")
    assert world.obeys(portal_key_file)
    client.force_login(dana)
    for address in (f"/hosts/{typed}/", f"/api/v1/hosts/{typed}/"):
        assert world.name in client.get(address).content.decode()

    image = world.worker_host.template()
    machine = world.worker_host.machine(image)
    order = world.worker_host.order("create", machine)
    sign = portal_key.signer_for(portal_key_file, trusted=world.host.portal_keys)
    envelope = contract.seal(order, host=world.name, sign=sign, not_after=int(time.time()) + 600)
    dispatch.ring(host=world.name, job_id=uuid.UUID(order.job_id), envelope=envelope)
    stream = contract.console_out_key(world.name, machine.id)
    world.wait(lambda: world.portals.xlen(stream), "the console's first bytes")
    world.wait(lambda: world.ends.get(order.job_id) == "SUCCEEDED", "the end of the create")


@pytest.mark.slow
def test_a_host_has_no_key_of_another_whose_name_begins_as_its_own(tmp_path):
    broker = ClosedBroker(tmp_path, hosts={"xen1": "a" * 32, "xen1.example.org": "b" * 32})
    try:
        with broker.client(membership.account_name("xen1"), "a" * 32) as client:
            for queue in (contract.queue_for, contract.report_queue_for, contract.observation_queue_for):
                client.lpush(queue("xen1"), "mine")
                with pytest.raises(NoPermissionError):
                    client.lpush(queue("xen1.example.org"), "another's")
            with pytest.raises(NoPermissionError):
                client.xadd(contract.console_out_key("xen1.example.org", "m"), {"d": "x"})
    finally:
        broker.stop()


def change_the_portals_key(world, portal_key_file):
    old = membership.fingerprint(portal_key.public_pem(portal_key_file))
    portal_key.rotate(portal_key_file)
    new = membership.fingerprint(portal_key.public_pem(portal_key_file))
    with pytest.raises(portal_key.RotationUnderWay):
        portal_key.rotate(portal_key_file)
    # sealed with the old key: the host has not said that it knows the new one
    assert world.host.portal_keys == [old]
    assert world.obeys(portal_key_file)
    trust.tend(now=now())
    # it obeys what it was told first, and shows then what it trusts
    assert world.obeys(portal_key_file)
    world.wait(lambda: set(world.host.portal_keys) == {old, new}, "the host to know both")
    # the first observation since it was accepted: this one is believed
    assert world.host.memory_mib > 0
    assert world.obeys(portal_key_file)
    time.sleep(1)  # a word's serial is a second
    trust.tend(now=now())
    assert world.obeys(portal_key_file)
    world.wait(lambda: world.host.portal_keys == [new], "the host to know the new one alone")
    assert not portal_key.old_key(portal_key_file).exists()
    assert world.obeys(portal_key_file)


def change_the_hosts_key(world, portal_key_file):
    old = world.host.public_key
    done = world.command("rotate-key")
    assert done.returncode == 0, done.stderr
    assert world.obeys(portal_key_file)
    world.wait(lambda: world.host.public_key != old, "the portal to see the new key at work")
    assert membership.fingerprint(world.host.public_key) in done.stdout
    assert world.obeys(portal_key_file)


def change_the_password(world, portal_key_file):
    def account():
        text = (world.etc / "broker.url").read_text()
        return re.search(r"rediss://([^:]+):([^@]+)@", text).groups()

    old = account()
    done = world.command("refresh", "--new-password")
    assert done.returncode == 0, done.stderr
    assert account() != old
    for known in (old, account()):
        with world.broker.client(*known) as client:
            assert client.ping()
    assert world.obeys(portal_key_file)


def take_it_out(world, dana):
    from webxen.enrolment import removal

    with world.broker.client() as client:
        before = [one for one in client.client_list() if one["user"] == "dom0.xen1"]
        assert before
        removal.remove_host(staff=dana, host_id=world.host.id, now=now())
        ids = {one["id"] for one in before}
        assert not [one for one in client.client_list() if one["id"] in ids]
        assert b"dom0.xen1" not in client.acl_users()
    assert "dom0.xen1" not in (world.broker.folder / "users.acl").read_text()


@pytest.mark.slow
class TestBrokerAccounts:
    @pytest.fixture
    def broker(self, tmp_path, settings):
        broker = ClosedBroker(tmp_path)
        settings.WEBXEN_REDIS_URL = broker.portal_url
        settings.WEBXEN_BROKER_PUBLIC_URL = broker.url
        yield broker
        broker.stop()

    def test_come_back_when_the_broker_has_forgotten_them(self, broker, xen1, now):
        from webxen.enrolment import broker_accounts

        password = broker_accounts.give_password(host=xen1, now=now, keeps_old=False)
        with (
            pytest.raises((AuthenticationError, ResponseError)),
            broker.client("dom0.xen1", password) as client,
        ):
            client.ping()
        broker_accounts.ensure_all(now=now)
        with broker.client("dom0.xen1", password) as client:
            assert client.ping()
        # saved: a broker that starts anew knows it at once
        broker.stop()
        broker.start()
        with broker.client("dom0.xen1", password) as client:
            assert client.ping()

    def test_wait_while_the_broker_is_away(self, broker, xen1, now):
        from webxen.enrolment import broker_accounts

        broker_accounts.give_password(host=xen1, now=now, keeps_old=False)
        broker.stop()
        assert not broker_accounts.ensure(host=xen1)
        broker_accounts.ensure_all(now=now)
        with pytest.raises(RedisError), broker.client() as client:
            client.ping()


def test_keys_are_read_again_when_their_file_changes(tmp_path):
    first, second = keys.generate(), keys.generate()
    (tmp_path / "host.key").write_bytes(first[0])
    (tmp_path / "portal.pub").write_bytes(first[1])
    sign, verify = keys.read_signer(tmp_path / "host.key"), keys.read_verifier(tmp_path / "portal.pub")
    assert verify("", b"x", sign(b"x"))
    Files(tmp_path).next_key.write_bytes(second[0])
    Files(tmp_path).next_key.replace(tmp_path / "host.key")
    assert not verify("", b"x", sign(b"x"))
    (tmp_path / "new").write_bytes(first[1] + second[1])
    (tmp_path / "new").replace(tmp_path / "portal.pub")
    assert verify("", b"x", sign(b"x"))
    # one that cannot be read changes nothing
    (tmp_path / "portal.pub").write_text("half a fi")
    (tmp_path / "host.key").unlink()
    assert verify("", b"x", sign(b"x"))
