"""Against a real Redis: poison on the portal's queue, and how long a click waits when Redis is away."""

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

from tests.people import use_broker
from webxen.celery import app
from webxen.core import events
from webxen.jobs import dispatch
from worker import contract

ROOT = Path(__file__).resolve().parents[2]
WORKER = [
    "-m",
    "celery",
    "-A",
    "webxen.celery",
    "worker",
    "--pool",
    "solo",
    "--queues",
    "reports",
    "--without-mingle",
    "--without-gossip",
]
POISON = [b"not json", b"[1,2]", b'{"body": 1}', b"null", b"\xff\xfe", b'{"properties": {"delivery_tag": 7}}']


@pytest.fixture
def redis(tmp_path):
    socket = tmp_path / "redis.sock"
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    client = Redis(unix_socket_path=str(socket))
    for _ in range(100):
        if socket.exists():
            break
        time.sleep(0.1)
    client.ping()
    yield client
    client.close()
    server.terminate()
    server.wait(timeout=10)


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
class TestPortalWorker:
    def test_lives_on_after_poison(self, redis, tmp_path):
        """Celery's own worker ends at the first of these."""
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "WEBXEN_REDIS_URL": f"unix://{path_of(redis)}",
        }
        for item in POISON:
            redis.lpush(contract.QUEUE_REPORTS, item)
        log = tmp_path / "worker.log"
        with log.open("w") as output:
            worker = subprocess.Popen(
                [sys.executable, *WORKER],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(lambda: redis.llen(contract.QUEUE_REPORTS) == 0)
            # it still takes what Celery wrote: an envelope that is none is dropped by the door itself
            use_broker(f"redis+socket://{path_of(redis)}")
            app.send_task(contract.TASK_REPORT, args=["no envelope"], queue=contract.QUEUE_REPORTS)
            app.send_task("no.such.task", args=[], queue=contract.QUEUE_REPORTS)
            app.send_task(contract.TASK_OBSERVATION, args=["no envelope"], queue=contract.QUEUE_REPORTS)
            wait_until(lambda: log.read_text().count("envelope dropped") == 2)
            assert worker.poll() is None
            assert log.read_text().count("dropped an ") == len(POISON)
        finally:
            worker.terminate()
            worker.wait(timeout=30)
