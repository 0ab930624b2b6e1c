"""The reports process on a real Redis and the test's database, what waits for hosts, and their accounts."""

import contextlib
import json
import threading
import time
import uuid
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from redis import exceptions

from tests import broker_errors
from tests.fixtures import NOW, use_broker
from tests.jobs.closed_broker import ClosedBroker
from tests.jobs.test_inbox import item
from tests.worker.console_bench import Broker, wait_for
from webxen.celery import app, install_transport
from webxen.enrolment import broker_accounts
from webxen.inbox import tasks
from webxen.inbox.reader import Reader
from webxen.inventory.models import Host
from webxen.jobs import broker_trouble, dispatch
from worker import contract
from worker.contract import membership

POISON = [b"not json", b"[1,2]", b'{"body": 1}', b"null", b"\xff\xfe", b"", b"[" * 100_000]
PASSWORD = "a-password-that-this-test-made-up"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("reading"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def redis(server):
    with server.client() as client:
        client.flushall()
        yield client


class Hearing:
    """A reader at work, and what it was told."""

    def __init__(self, url):
        self.heard = []
        #: raised instead, one after the other
        self.errors = []
        self.reader = Reader(self._receive, lambda _: None, url=url)
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        self.reader.run()
        connection.close()

    def _receive(self, task, untrusted_envelope):
        if self.errors:
            raise self.errors.pop(0)
        self.heard.append((task, untrusted_envelope))

    @contextlib.contextmanager
    def started(self):
        self.thread.start()
        try:
            yield self
        finally:
            self.reader.stop()
            self.thread.join()


@pytest.fixture
def hearing(server, redis, transactional_db, xen1):
    with Hearing(server.url).started() as hearing:
        wait_for(lambda: hearing.reader._looked_at > 0, "the reader")
        yield hearing


def say(redis, queue, *, task=contract.TASK_REPORT):
    redis.lpush(queue, json.dumps(item(task=task)))


QUEUE = contract.report_queue_for("xen1")


class TestReader:
    @pytest.mark.parametrize("name", broker_errors.ALL)
    def test_lives_through_any_error_of_the_broker_and_hears_the_next_message(self, name, redis, hearing):
        with broker_errors.ALL[name](redis):
            time.sleep(1.5)  # longer than it waits for a message
            assert hearing.thread.is_alive()
        say(redis, QUEUE)
        wait_for(lambda: hearing.heard, "the message", 20)

    def test_lives_through_the_brokers_end(self, server, redis, hearing):
        server.stop()
        time.sleep(1)
        server.start()
        with server.client() as client:
            say(client, QUEUE)
        wait_for(lambda: hearing.heard, "the message", 20)

    def test_lives_on_after_poison(self, redis, hearing):
        for poison in POISON:
            redis.lpush(QUEUE, poison)
        say(redis, QUEUE)
        wait_for(lambda: hearing.heard, "the message", 20)

    def test_keeps_nothing_that_would_be_due_later(self, redis, hearing):
        for _ in range(50):
            redis.lpush(QUEUE, json.dumps(item(eta="2030-01-01T00:00:00+00:00")))
        say(redis, QUEUE)
        wait_for(lambda: hearing.heard, "the message", 20)
        assert len(hearing.heard) == 1
        assert not redis.exists(QUEUE, "unacked")

    def test_a_bug_in_one_message_does_not_end_it(self, redis, hearing):
        hearing.errors.append(ZeroDivisionError())
        say(redis, QUEUE)
        say(redis, QUEUE)
        wait_for(lambda: hearing.heard, "the second message", 20)
        assert len(hearing.heard) == 1

    def test_what_a_host_said_of_a_job_waits_for_the_database(self, redis, hearing):
        hearing.errors += [OperationalError("away"), OperationalError("still away")]
        say(redis, QUEUE)
        wait_for(lambda: hearing.heard, "the message", 20)

    def test_what_a_host_says_of_itself_does_not(self, redis, hearing):
        hearing.errors.append(OperationalError("away"))
        say(redis, contract.observation_queue_for("xen1"), task=contract.TASK_OBSERVATION)
        wait_for(lambda: not hearing.errors, "the first look")
        say(redis, QUEUE)
        wait_for(lambda: hearing.heard, "the next message", 20)
        assert hearing.heard == [(contract.TASK_REPORT, "envelope")]

    def test_a_host_that_says_too_much_is_noted_for_staff(self, server, redis, xen1):
        noted = []
        reader = Reader(lambda *_: None, noted.append, url=server.url)
        # more than a queue may hold, and more than one that several share
        redis.lpush(QUEUE, *[b"x" * 100_000] * 200)
        redis.lpush(contract.QUEUE_REPORTS, *[b"x" * 100_000] * 200)
        reader._turn()
        assert noted == ["xen1"]
        tasks.note_flood("xen1")
        assert Host.objects.get(id=xen1.id).reports_dropped_at is not None

    def test_a_worker_that_shares_a_queue_is_still_heard(self, redis, hearing):
        say(redis, contract.QUEUE_REPORTS)
        wait_for(lambda: hearing.heard, "the message", 20)
        assert not Host.objects.get(name="xen1").has_own_queues

    def test_a_host_that_writes_its_own_queue_is_noted(self, redis, hearing):
        say(redis, QUEUE)
        wait_for(lambda: Host.objects.get(name="xen1").has_own_queues, "the note")


class TestWaiting:
    """What waits for a host that is away."""

    @pytest.fixture
    def to_redis(self, server, redis):
        before = app.conf.broker_url
        # a test of the worker in this process may have put the worker's own in its place
        install_transport()
        use_broker(f"redis+socket://{server.socket}")
        yield
        use_broker(before)

    def test_only_the_newest_word_about_a_job(self, redis, to_redis):
        one, other = uuid.uuid4(), uuid.uuid4()
        for number in range(20):
            dispatch.ring(host="xen1", job_id=one, envelope=f"one {number}")
            dispatch.ring(host="xen1", job_id=other, envelope=f"other {number}")
        waiting = redis.lrange(contract.queue_for("xen1"), 0, -1)
        assert sorted(contract.read_item(raw).untrusted_envelope for raw in waiting) == ["one 19", "other 19"]

    def test_one_envelope_with_the_portals_keys(self, redis, to_redis):
        for number in range(20):
            dispatch.ring(host="xen1", job_id=uuid.uuid4(), envelope=str(number), slot="portal-keys")
        (waiting,) = redis.lrange(contract.queue_for("xen1"), 0, -1)
        assert contract.read_item(waiting).untrusted_envelope == "19"

    def test_not_for_longer_than_an_order_is_good(self, redis, to_redis):
        dispatch.ring(host="xen1", job_id=uuid.uuid4(), envelope="x")
        assert 0 < redis.ttl(contract.queue_for("xen1")) <= 3600

    def test_one_of_each_of_the_clocks_tasks(self, redis, to_redis):
        for _ in range(10):
            for entry in app.conf.beat_schedule.values():
                app.send_task(entry["task"], **entry["options"])
        assert redis.llen("clock") == len(app.conf.beat_schedule)


class TestAccounts:
    """What hosts may do at the broker is brought to what it is now."""

    @pytest.fixture
    def broker(self, tmp_path, settings):
        broker = ClosedBroker(tmp_path)
        settings.WEBXEN_REDIS_URL = broker.portal_url
        yield broker
        broker.stop()

    @pytest.fixture
    def account(self, broker, xen1, now, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            broker_accounts.set_password(name="xen1", password=PASSWORD, now=now)
        with broker.client("dom0.xen1", PASSWORD) as client:
            yield client

    def can(self, client, *command):
        with contextlib.suppress(Exception):
            client.execute_command(*command)
            return True
        return False

    def test_an_account_with_scripts_loses_them(self, broker, account, now):
        with broker.client() as portal:
            portal.execute_command("ACL", "SETUSER", "dom0.xen1", "+eval", "+evalsha", "+script|load")
            assert self.can(account, "EVAL", "return 1", "0")
            broker_accounts.ensure_all(now=now)
            assert not self.can(account, "EVAL", "return 1", "0")
            assert not self.can(account, "SCRIPT", "LOAD", "return 1")

    def test_an_account_that_is_right_is_left_alone(self, broker, account, now):
        with broker.client() as portal:
            broker_accounts.ensure_all(now=now)
            # an account that is changed is saved
            before = portal.info("commandstats")["cmdstat_acl|save"]["calls"]
            broker_accounts.ensure_all(now=now)
            assert portal.info("commandstats")["cmdstat_acl|save"]["calls"] == before

    def test_an_older_worker_may_share_a_queue_until_it_writes_its_own(self, broker, account, now):
        assert self.can(account, "LPUSH", contract.QUEUE_REPORTS, "x")
        assert self.can(account, "LPUSH", QUEUE, "x")
        broker_accounts.note_own_queue(name="xen1")
        assert not self.can(account, "LPUSH", contract.QUEUE_REPORTS, "x")
        assert self.can(account, "LPUSH", QUEUE, "x")

    def test_an_older_worker_finds_its_lock_held_and_needs_no_script(self, broker, account, now):
        lock = membership.lock_of_old_workers("xen1")
        # as Kombu takes and gives it back: only the giving back is a script
        taken = account.lock(lock, timeout=300)
        assert not taken.acquire(blocking=False)
        account.delete(lock)
        broker_accounts.ensure_all(now=now)
        assert not account.lock(lock, timeout=300).acquire(blocking=False)

    def test_a_new_password_lets_an_older_worker_in_again(self, broker, account, now):
        broker_accounts.note_own_queue(name="xen1")
        host = Host.objects.get(name="xen1")
        broker_accounts.give_password(host=host, now=now, keeps_old=True)
        broker_accounts.ensure_all(now=now)
        assert self.can(account, "LPUSH", contract.QUEUE_REPORTS, "x")

    def test_a_host_taken_out_leaves_nothing_waiting(self, broker, account):
        with broker.client() as portal:
            for queue in (QUEUE, contract.queue_for("xen1"), contract.observation_queue_for("xen1")):
                portal.lpush(queue, "x")
            broker_accounts.remove(name="xen1")
            assert not list(portal.scan_iter("*xen1*"))

    def test_old_passwords_end_at_their_time(self, broker, account, now):
        host = Host.objects.get(name="xen1")
        broker_accounts.give_password(host=host, now=now, keeps_old=True)
        broker_accounts.ensure_all(now=now + timedelta(hours=23))
        with broker.client("dom0.xen1", PASSWORD) as client:
            assert client.ping()
        broker_accounts.ensure_all(now=now + timedelta(hours=25))
        with (
            pytest.raises(Exception, match="invalid username-password"),
            broker.client("dom0.xen1", PASSWORD) as client,
        ):
            client.ping()


class TestAJobThatWaits:
    """It says what is in the way, and not that the broker is away when it is not."""

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("BUSY", broker_trouble.BUSY),
            ("OOM", broker_trouble.FULL),
            ("MISCONF", broker_trouble.DISK),
            ("READONLY", broker_trouble.READ_ONLY),
            ("NOREPLICAS", broker_trouble.READ_ONLY),
        ],
    )
    def test_says_what_the_broker_answered(self, name, words, server, redis, order_machine):
        before = app.conf.broker_url
        install_transport()
        job = order_machine()
        use_broker(f"redis+socket://{server.socket}")
        try:
            with broker_errors.ALL[name](redis):
                assert dispatch.send(job_id=job.id, now=NOW) == dispatch.Outcome.BROKER_AWAY
            job.refresh_from_db()
            assert job.waiting_for == words
            assert dispatch.send(job_id=job.id, now=NOW) == dispatch.Outcome.SENT
        finally:
            use_broker(before)
        job.refresh_from_db()
        assert job.waiting_for == ""

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (exceptions.BusyLoadingError("Redis is loading"), broker_trouble.LOADING),
            (exceptions.AuthenticationError("invalid username-password pair"), broker_trouble.LOCKED_OUT),
            (exceptions.NoPermissionError("no permissions"), broker_trouble.LOCKED_OUT),
            (exceptions.ResponseError("NOAUTH Authentication required."), broker_trouble.LOCKED_OUT),
            (exceptions.ResponseError("TRYAGAIN Multiple keys request"), broker_trouble.REFUSED),
            (exceptions.ConnectionError("max number of clients reached"), broker_trouble.CROWDED),
            (exceptions.ConnectionError("refused"), broker_trouble.AWAY),
            (TimeoutError(), broker_trouble.AWAY),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_whatever_it_answers(self, error, words):
        assert broker_trouble.words_for(error) == words
