"""A host's Redis password in an attacker's hands: each attack, the answer it got, and the next order obeyed.

Real Redis with its access list, a real Celery worker on the stand-in xl. `-s` prints the answers as a table.
"""

import base64
import json
import os
import subprocess
import sys
import time
import uuid
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import call_command
from kombu import Connection
from kombu.pidbox import Mailbox
from redis import Redis
from redis.exceptions import RedisError

from tests import broker_errors
from tests.fixtures import public_pem
from tests.fixtures import report as say
from tests.jobs.closed_broker import ClosedBroker
from tests.worker.console_bench import wait_for
from tests.worker.whole import Portal, Worker
from tests.worker.worker_host import WorkerHost
from webxen.core import checks
from webxen.inbox import tasks
from webxen.inventory import operations as inventory
from webxen.jobs import operations
from webxen.jobs.models import Job
from worker import contract
from worker.contract import broker_policy, membership
from worker.identity import keys

VICTIM, OTHER = "the-victims-password-of-this-test", "the-other-hosts-password-of-this"
XEN1, XEN2 = ("dom0.xen1", VICTIM), ("dom0.xen2", OTHER)
QUEUE = contract.queue_for("xen1")


@pytest.fixture(scope="module")
def table():
    """What was tried, and what came of it."""
    rows = []
    yield rows
    width = max((len(attack) for attack, _ in rows), default=0)
    for attack, answer in rows:
        sys.stdout.write(f"\n  {attack:<{width}}  {answer}")
    sys.stdout.write("\n")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = ClosedBroker(tmp_path_factory.mktemp("broker"), hosts={"xen1": VICTIM, "xen2": OTHER})
    yield broker
    broker.stop()


class Scene:
    """The victim's worker, what the attacker sees of it, and the portal."""

    def __init__(self, worker_host, broker):
        self.worker_host, self.broker = worker_host, broker
        self.portal = Portal(worker_host, broker)
        self.worker = Worker(worker_host)

    def log(self):
        return "".join(
            (self.worker_host.directory / name).read_text() for name in ("celery.txt", "agent.txt")
        )

    def order(self, **values):
        return self.worker_host.order("delete", self.worker_host.machine(), **values)

    def put(self, item, *, user=XEN1):
        """Write to the victim's queue as somebody who can."""
        with self.broker.client(*user) as client:
            client.lpush(QUEUE, item)

    def item(self, envelope, *, task=contract.TASK_OBEY, job_id=None):
        """A queue item as Celery writes it, caught on its way."""
        body = base64.b64encode(json.dumps([[envelope], {}, {"callbacks": None}]).encode()).decode()
        tag = str(uuid.uuid4())
        return json.dumps(
            {
                "body": body,
                "content-encoding": "utf-8",
                "content-type": "application/json",
                "headers": {"lang": "py", "task": task, "id": job_id or tag, "root_id": tag, "argsrepr": ""},
                "properties": {
                    "correlation_id": tag,
                    "delivery_mode": 2,
                    "delivery_info": {"exchange": "", "routing_key": QUEUE},
                    "priority": 0,
                    "body_encoding": "base64",
                    "delivery_tag": tag,
                },
            }
        )

    def is_next_order_obeyed(self):
        """The worker lives, and does what the portal orders."""
        order = self.order()
        self.portal.order(order)
        end = wait_for(lambda: self.portal.end_of(order), "the next order's end", 30)
        return self.worker.is_alive and end.event == "SUCCEEDED"

    def hears(self, words, before):
        wait_for(lambda: self.log().count(words) > before.count(words), words, 20)


@pytest.fixture(scope="module")
def scene(broker, tmp_path_factory):
    worker_host = WorkerHost(tmp_path_factory.mktemp("worker_host"), broker_url=broker.url_for(*XEN1))
    try:
        yield Scene(worker_host, broker)
    finally:
        worker_host.close()


def altered(envelope):
    """Another job in the same signature."""
    outer = json.loads(envelope)
    outer["signed"] = outer["signed"].replace('"kind":"DELETE"', '"kind":"POWEROFF"')
    return json.dumps(outer)


@pytest.mark.slow
class TestOwnQueue:
    """With the victim's own account one may write to its queue; what is written there is another matter."""

    def test_replay_is_heard_as_the_same_job(self, scene, table):
        order = scene.order()
        envelope = scene.worker_host.envelope(order)
        scene.put(scene.item(envelope, job_id=order.job_id))
        wait_for(lambda: scene.portal.end_of(order), "the end", 30)
        entries = len(list(scene.worker_host.settings.journal_dir.glob("*.json")))
        runs = len(scene.worker_host.stand_in.runs())
        for _ in range(3):
            scene.put(scene.item(envelope, job_id=order.job_id))
        assert scene.is_next_order_obeyed()
        # the next order's own entry, and nothing of the replays
        assert len(list(scene.worker_host.settings.journal_dir.glob("*.json"))) == entries + 1
        assert len(scene.worker_host.stand_in.runs()) == runs
        table.append(("replay of a captured order, three times", "heard as the same job, done once"))

    @pytest.mark.parametrize(
        ("attack", "words", "forge"),
        [
            (
                "an order altered in its envelope",
                "the signature is not good",
                lambda s: altered(s.worker_host.envelope(s.order())),
            ),
            (
                "an order signed with another key",
                "the signature is not good",
                lambda s: s.worker_host.envelope(s.order(), key=keys.generate()[0]),
            ),
            (
                "an order for another host",
                "the envelope is for another host",
                lambda s: s.worker_host.envelope(s.order(), host="xen2"),
            ),
            (
                "an order that has expired",
                "the envelope has expired",
                lambda s: s.worker_host.envelope(s.order(), not_after=int(time.time()) - 1),
            ),
            (
                "the portal's keys replaced by the attacker's",
                "the signature is not good",
                lambda _: contract.seal(
                    contract.PortalKeys((keys.generate()[1].decode(),), 2**40),
                    host="xen1",
                    sign=keys.signer(keys.generate()[0]),
                    not_after=int(time.time()) + 60,
                ),
            ),
            (
                "an order without an envelope",
                "the envelope is not readable",
                lambda _: json.dumps({"kind": "DELETE"}),
            ),
        ],
    )
    def test_forged_envelope_is_dropped(self, attack, words, forge, scene, table):
        before = scene.log()
        scene.put(scene.item(forge(scene)))
        scene.hears(words, before)
        assert scene.is_next_order_obeyed()
        table.append((attack, f"dropped: {words}"))

    @pytest.mark.parametrize("task", ["worker.destroy", "celery.backend_cleanup", "os.system"])
    def test_header_swap_calls_nothing(self, task, scene, table):
        before = scene.log()
        scene.put(scene.item(scene.worker_host.envelope(scene.order()), task=task))
        scene.hears("unregistered task", before)
        assert scene.is_next_order_obeyed()
        table.append((f"header swapped to {task}", "no such task: dropped"))

    @pytest.mark.parametrize(
        ("attack", "item"),
        [
            ("poison: not json", "not json"),
            ("poison: {}", "{}"),
            ("poison: 1 MiB of x", "x" * (1 << 20)),
            ("poison: JSON 100 000 deep", "[" * 100_000 + "]" * 100_000),
            ("poison: a pickle", base64.b64encode(b"\x80\x04.").decode()),
        ],
        ids=["not-json", "braces", "large", "deep", "pickle"],
    )
    def test_poison_is_dropped(self, attack, item, scene, table):
        before = scene.log()
        scene.put(item)
        scene.hears("dropped an", before)
        assert scene.is_next_order_obeyed()
        table.append((attack, "dropped with one log line, worker up"))

    def test_shutdown_broadcast_does_nothing(self, scene, broker, table):
        """Not even with the portal's own account: nobody listens."""
        with broker.client(*XEN1) as client, pytest.raises(RedisError, match=r"(?i)noperm|permission"):
            client.publish("/0.celery.pidbox", "x")
        with Connection(broker.portal_url) as connection:
            Mailbox("celery", type="fanout")(connection)._broadcast("shutdown", {})
        assert scene.is_next_order_obeyed()
        table.append(("`shutdown` broadcast", "NOPERM for a host; from the portal's account: nobody listens"))


def other_hosts_queue():
    machine = str(uuid.uuid4())
    return [
        ("another host's queue: write", ("LPUSH", QUEUE, "x")),
        ("another host's queue: read", ("LRANGE", QUEUE, "0", "-1")),
        ("another host's queue: take", ("BRPOP", QUEUE, "1")),
        ("another host's queue: empty", ("DEL", QUEUE)),
        ("another host's unacknowledged orders", ("HGETALL", "dom0.xen1.unacked")),
        ("the portal's unacknowledged reports", ("HGETALL", "unacked")),
        ("leave one for the portal to put back", ("HSET", "unacked", "tag", "x")),
        ("another host's routing table", ("SADD", "_kombu.binding.dom0.xen1", "x")),
        ("type at another host's console", ("XADD", contract.console_in_key("xen1", machine), "*", "d", "x")),
        ("read another host's console", ("XRANGE", contract.console_out_key("xen1", machine), "-", "+")),
        ("take others' reports", ("RPOP", contract.QUEUE_REPORTS)),
        ("read others' reports", ("LRANGE", contract.QUEUE_REPORTS, "0", "-1")),
        ("delete others' reports", ("DEL", contract.QUEUE_REPORTS)),
        ("put reports on the queue that older workers share", ("LPUSH", contract.QUEUE_REPORTS, "x")),
        ("put reports as another host", ("LPUSH", contract.report_queue_for("xen1"), "x")),
        ("put another host's picture", ("LPUSH", contract.observation_queue_for("xen1"), "x")),
        ("shorten another host's reports", ("LTRIM", contract.report_queue_for("xen1"), "1", "0")),
        ("take its own reports back", ("RPOP", contract.report_queue_for("xen2"))),
        ("ring the clock", ("LPUSH", "clock", "x")),
        ("a script", ("EVAL", "while true do end", "0")),
        ("a script that is known", ("EVALSHA", "0" * 40, "0")),
        ("load a script", ("SCRIPT", "LOAD", "return 1")),
        ("a function", ("FCALL", "f", "0")),
        ("FLUSHALL", ("FLUSHALL",)),
        ("KEYS *", ("KEYS", "*")),
        ("CONFIG GET requirepass", ("CONFIG", "GET", "requirepass")),
        ("ACL LIST", ("ACL", "LIST")),
        ("ACL SETUSER", ("ACL", "SETUSER", "dom0.xen2", "~*")),
        ("MONITOR", ("MONITOR",)),
        ("CLIENT LIST", ("CLIENT", "LIST")),
        ("SHUTDOWN", ("SHUTDOWN", "NOSAVE")),
        ("PUBLISH a live hint", ("PUBLISH", "asgi__group__staff", "x")),
    ]


@pytest.mark.slow
class TestOtherHost:
    """With another host's account."""

    @pytest.mark.parametrize(("attack", "command"), other_hosts_queue())
    def test_reaches_nothing_that_is_not_its_own(self, attack, command, broker, table):
        with broker.client(*XEN2) as client, pytest.raises(RedisError) as refused:
            client.execute_command(*command)
        assert "permission" in str(refused.value).lower()
        with broker.client() as portal:
            assert portal.ping()
        table.append((f"xen2's account: {attack}", "NOPERM"))

    def test_may_put_a_report(self, broker):
        with broker.client(*XEN2) as client:
            assert client.lpush(contract.report_queue_for("xen2"), "x")
            assert client.lpush(contract.observation_queue_for("xen2"), "x")
        with broker.client() as portal:
            portal.delete(contract.report_queue_for("xen2"), contract.observation_queue_for("xen2"))

    def test_without_a_password_nothing_is_answered(self, broker, table):
        with Redis.from_url(broker.url, protocol=2) as client, pytest.raises(RedisError, match=r"(?i)auth"):
            client.ping()
        table.append(("no account: PING", "NOAUTH"))


class TestForgedReport:
    """What the portal makes of reports that are not what they say."""

    @pytest.fixture
    def job(self, web1, alice, now):
        return operations.act(action="poweroff", user=alice, machine_id=web1.id, now=now)

    def tell(self, job, *, host, key, machine_id=None):
        said = contract.Report(
            job_id=str(job.id),
            machine_id=machine_id or str(job.machine_id),
            event="SUCCEEDED",
            sequence=99,
            power="OFF",
        )
        tasks.receive_report(contract.seal(said, host=host, sign=key.sign, not_after=int(time.time()) + 600))
        job.refresh_from_db()
        return job.status

    def test_moves_nothing(self, job, xen1_key, table, now):
        xen2_key, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        inventory.accept_host(name="xen2", public_key=public_pem(xen2_key), now=now)
        for attack, forged in (
            ("a report on another host's job, signed as itself", {"host": "xen2", "key": xen2_key}),
            ("a report in another host's name", {"host": "xen1", "key": xen2_key}),
            ("a report of a host nobody knows", {"host": "xen9", "key": stranger}),
            (
                "a report about another machine",
                {"host": "xen1", "key": xen1_key, "machine_id": str(uuid.uuid4())},
            ),
        ):
            assert self.tell(job, **forged) == Job.Status.QUEUED, attack
            table.append((attack, "dropped"))
        for unsigned in (
            None,
            "",
            "{}",
            json.dumps({"signed": "{}", "signature": ""}),
            7,
            {"kind": "REPORT"},
        ):
            tasks.receive_report(unsigned)
        table.append(("an unsigned report", "dropped"))
        assert self.tell(job, host="xen1", key=xen1_key) == Job.Status.SUCCEEDED
        assert not say(job, "STARTED")


class TestReplayedObservation:
    """An old word of the host's own, signed and not yet expired, put on the queue once more."""

    def test_moves_nothing(self, web1, xen1_key, table, now):
        def envelope(serial, power):
            seen = contract.DomainSeen("web1", str(web1.id), 7, power, 256, 1)
            said = contract.Observation("xen1", {"n": "1"}, (), (), (seen,), serial=serial)
            return contract.seal(said, host="xen1", sign=xen1_key.sign, not_after=int(time.time()) + 600)

        old, new = envelope(1, "CRASHED"), envelope(2, "RUNNING")
        # what ended just now is not judged by what was seen before; here it ended long ago
        Job.objects.update(finished_at=now - timedelta(days=1))
        for text, power in ((old, "CRASHED"), (new, "RUNNING"), (old, "RUNNING"), (new, "RUNNING")):
            tasks.receive_observation(text)
            web1.refresh_from_db()
            assert web1.power == power
        table.append(
            ("an old observation of the host's own, sent again", "dropped: a newer one was believed")
        )


class TestOpenBroker:
    """WebXen and its workers refuse to start on a broker that lets anybody in."""

    @pytest.fixture
    def open_port(self, tmp_path):
        broker = ClosedBroker(tmp_path)
        with broker.client() as client:
            client.execute_command("ACL", "SETUSER", "default", "on", "nopass", "+@all", "~*")
        yield broker.port
        broker.stop()

    def test_is_refused_in_words_that_name_the_cure(self, open_port, settings, table):
        settings.WEBXEN_REDIS_URL = f"redis://portal:x@127.0.0.1:{open_port}/0"
        with pytest.raises(SystemExit, match=r"WebXen does not start.*docs/operating\.md"):
            checks.refuse_open_broker()
        (found,) = checks.check_broker(None)
        assert found.id == "webxen.E001"
        settings.WEBXEN_ALLOW_OPEN_BROKER = "yes"
        with pytest.raises(SystemExit):
            checks.refuse_open_broker()
        settings.WEBXEN_ALLOW_OPEN_BROKER = broker_policy.OPEN_WORDS
        checks.refuse_open_broker()
        table.append(("a broker whose `default` user needs no password", "portal and worker do not start"))

    def test_stops_the_web_server_and_the_worker(self, open_port, tmp_path):
        url = f"redis://127.0.0.1:{open_port}/0"
        (tmp_path / "worker_host").mkdir()
        worker_host = WorkerHost(tmp_path / "worker_host", broker_url=url)
        portal = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "WEBXEN_REDIS_URL": url}
        for argv, env in (
            (["-c", "import webxen.asgi"], portal),
            (["-c", "import worker.listener.celery_app"], {**os.environ, **worker_host.env}),
        ):
            done = subprocess.run(
                [sys.executable, *argv], env=env, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 1
            assert "lets anybody in" in done.stderr
            assert "Traceback" not in done.stderr
        worker_host.close()

    @pytest.mark.parametrize("name", ["BUSY", "READONLY", "OOM", "MISCONF"])
    def test_is_refused_in_its_worst_hour_too(self, name, open_port):
        url = f"redis://127.0.0.1:{open_port}/0"
        with (
            Redis.from_url(url, protocol=2) as admin,
            broker_errors.ALL[name](admin),
            pytest.raises(broker_policy.BrokerOpen),
        ):
            broker_policy.check(url, open_words="", plain_words="")

    @pytest.mark.parametrize(
        "url", ["redis://u:p@redis:6379/0", "redis://u:p@192.0.2.1/0", "redis://u:p@[2001:db8::1]/0"]
    )
    def test_in_the_clear_beyond_this_machine_is_refused(self, url):
        with pytest.raises(broker_policy.BrokerOpen, match="rediss://"):
            broker_policy.check(url, open_words=broker_policy.OPEN_WORDS, plain_words="")
        broker_policy.check(url, open_words=broker_policy.OPEN_WORDS, plain_words=broker_policy.PLAIN_WORDS)

    def test_that_is_closed_or_away_is_no_reason(self, broker):
        away = ("redis://127.0.0.1:1/0", "unix:///nowhere/redis.sock", "rediss://127.0.0.1:1/0")
        for url in (broker.portal_url, *away):
            broker_policy.check(url, open_words="", plain_words="")

    def test_deployment_check_is_clean_for_the_tests_own_settings(self):
        call_command("check", "--deploy", "--tag", "security", "--fail-level", "CRITICAL")


def test_rules_of_an_account_name_no_key_of_another():
    words = " ".join(membership.account_rules("xen1")).replace("(", " ").split()
    assert not [word for word in words if "~" in word and "xen1" not in word]
    assert not [word for word in words if "eval" in word or "script" in word]
