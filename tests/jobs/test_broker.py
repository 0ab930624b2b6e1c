"""Against a real Redis: what the clock lives through, and how long a click waits when Redis is away."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from tests import broker_errors
from tests.fixtures import use_broker
from webxen.celery import app
from webxen.core import events
from webxen.jobs import dispatch
from worker import contract

ROOT = Path(__file__).resolve().parents[2]
#: as `make up` starts it
WORKER = ["-m", "celery", "-A", "webxen.celery", "worker", "-Q", "clock", "-l", "INFO"]
WORKER += ["--without-mingle", "--without-gossip", "--without-heartbeat"]
POISON = [b"not json", b"[1,2]", b'{"body": 1}', b"null", b"\xff\xfe", b'{"properties": {"delivery_tag": 7}}']


class RedisServer:
    """A real one on a socket in the test's folder; what it holds is lost when it stops."""

    def __init__(self, folder):
        self.folder, self.socket = folder, folder / "redis.sock"
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", self.folder],
            stdout=subprocess.DEVNULL,
        )
        wait_until(self.socket.exists)

    def stop(self):
        self.process.kill()
        self.process.wait(timeout=10)
        self.socket.unlink()


class Clock:
    """The portal's Celery worker."""

    def __init__(self, url, folder):
        self.log = folder / "worker.log"
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, *WORKER],
                cwd=ROOT,
                env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "WEBXEN_REDIS_URL": url},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self):
        return self.log.read_text()

    def heard(self):
        """How many tasks it has taken."""
        assert self.process.poll() is None
        return self.text().count("Task webxen.watch[")


@pytest.fixture
def redis_server(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def redis(redis_server):
    client = Redis(unix_socket_path=str(redis_server.socket))
    yield client
    client.close()


@pytest.fixture
def portal_clock(redis_server, tmp_path):
    clock = Clock(f"unix://{redis_server.socket}", tmp_path)
    try:
        wait_until(lambda: " ready." in clock.text())
        yield clock
    finally:
        clock.process.kill()
        clock.process.wait(timeout=30)


@pytest.fixture
def frozen_redis(redis):
    """It takes connections and says nothing."""
    server = redis.info("server")["process_id"]
    os.kill(server, signal.SIGSTOP)
    yield redis
    os.kill(server, signal.SIGCONT)


def path_of(redis):
    return redis.connection_pool.connection_kwargs["path"]


@pytest.fixture
def to_redis(redis):
    before = app.conf.broker_url
    use_broker(f"redis+socket://{path_of(redis)}")
    yield
    use_broker(before)


def wait_until(is_so, seconds=60):
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.1)


class TestRing:
    def test_puts_the_envelope_on_the_hosts_own_queue(self, redis, to_redis):
        job_id = uuid.uuid4()
        dispatch.ring(host="xen1", job_id=job_id, envelope="sealed")
        (item,) = redis.lrange(contract.queue_for("xen1"), 0, -1)
        assert str(job_id).encode() in item
        # Celery would write the arguments into a header in clear
        assert b"sealed" not in item

    @pytest.mark.parametrize("url", ["redis+socket:///nowhere/redis.sock", "redis://127.0.0.1:1/0"])
    def test_gives_up_within_a_second(self, url):
        before = app.conf.broker_url
        use_broker(url)
        start = time.monotonic()
        with pytest.raises(OperationalError):
            dispatch.ring(host="xen1", job_id=uuid.uuid4(), envelope="sealed")
        took = time.monotonic() - start
        use_broker(before)
        assert took < 2  # 0.02 s on a quiet machine; six seconds without our limits

    def test_gives_up_on_a_broker_that_does_not_answer(self, frozen_redis, to_redis):
        start = time.monotonic()
        with pytest.raises((OperationalError, RedisError)):
            dispatch.ring(host="xen1", job_id=uuid.uuid4(), envelope="sealed")
        assert time.monotonic() - start < 4  # for ever without our limits


class TestHints:
    def test_give_up_on_a_broker_that_does_not_answer(self, frozen_redis, settings, transactional_db, caplog):
        settings.CHANNEL_LAYERS = {
            "default": {
                "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
                "CONFIG": {"hosts": [f"unix://{path_of(frozen_redis)}"]},
            }
        }
        start = time.monotonic()
        with caplog.at_level("INFO"):
            events.publish(kind="job", id="1")
        assert "the broker is away" in caplog.text
        assert time.monotonic() - start < 4


@pytest.mark.slow
class TestClock:
    def test_lives_on_after_poison(self, redis, portal_clock, to_redis):
        """Celery's own worker ends at the first of these."""
        for item in POISON:
            redis.lpush("clock", item)
        app.send_task("no.such.task", args=[])
        ring(1)
        wait_until(portal_clock.heard)
        assert portal_clock.text().count("dropped an ") == len(POISON)

    def test_lives_on_after_redis_was_away(self, redis, redis_server, portal_clock, to_redis):
        """With Celery's own event loop it sometimes waits for ever after this, alive and deaf."""
        ring(1)
        wait_until(portal_clock.heard)
        for turn in range(1, 4):
            # Redis goes while messages are being taken and acknowledged
            ring(40)
            redis_server.stop()
            time.sleep(0.5)
            redis_server.start()
            before = portal_clock.heard()
            ring(1)
            wait_until(lambda before=before: portal_clock.heard() > before)
            assert turn

    def test_lives_through_each_error_of_the_broker(self, redis, portal_clock, to_redis):
        for trouble in broker_errors.ALL.values():
            with trouble(redis):
                time.sleep(2.5)  # longer than it waits for a message: it asks again meanwhile
                portal_clock.heard()
            before = portal_clock.heard()
            ring(1)
            wait_until(lambda before=before: portal_clock.heard() > before)

    def test_is_not_kept_waiting_by_what_hosts_say(self, redis, portal_clock, to_redis):
        for queue in (contract.QUEUE_REPORTS, contract.report_queue_for("xen1")):
            redis.lpush(queue, *range(20_000))
        ring(1)
        wait_until(portal_clock.heard, 10)


def ring(count):
    for _ in range(count):
        app.send_task("webxen.watch")
