"""What the listener leaves at the broker for a portal that is away, and with an older portal's account."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.worker.console_bench import Broker
from worker import settings
from worker.contract import (
    OBSERVATIONS_KEPT,
    QUEUE_REPORTS,
    REPORTS_KEPT,
    TASK_OBSERVATION,
    TASK_REPORT,
    membership,
    observation_queue_for,
    queue_for,
    read_item,
    report_queue_for,
)
from worker.ipc.errors import PortalAway
from worker.listener import broker

REPORTS, SEEN = report_queue_for("xen1"), observation_queue_for("xen1")
PASSWORD = "a-password-that-this-test-made-up"
#: as an older portal gave them
OLDER_RULES = (
    *("resetchannels", "resetkeys", "clearselectors", "-@all", "~dom0.xen1", "~dom0.xen1.*"),
    *("~_kombu.binding*.dom0.xen1", *membership.HOST_COMMANDS.split(), "+eval", "+evalsha", "+script|load"),
    "(%W~reports %W~reports\x06* %W~_kombu.binding*.reports -@all +lpush +llen +sadd)",
)


class Listener:
    """The one call under test, as the listener makes it."""

    def __init__(self, folder: Path, client: redis.Redis, rules: tuple[str, ...]) -> None:
        self.client = client
        client.execute_command("ACL", "SETUSER", "dom0.xen1", "on", f">{PASSWORD}", *rules)
        url = f"unix://dom0.xen1:{PASSWORD}@{folder / 'redis.sock'}"
        config = settings.read({"WEBXEN_HOST": "xen1", "WEBXEN_BROKER_URL": url})
        self.app = broker.make_app(config)

    def says(self, task: str, *envelopes: str) -> None:
        for envelope in envelopes:
            broker.publish(self.app, "xen1", task, envelope)

    def waiting(self, queue: str) -> list[object]:
        return [read_item(raw).untrusted_envelope for raw in self.client.lrange(queue, 0, -1)]


@pytest.fixture
def client(redis_broker: Broker) -> Iterator[redis.Redis]:
    with redis_broker.client() as client:
        yield client


@pytest.fixture
def listener(tmp_path: Path, client: redis.Redis) -> Iterator[Listener]:
    listener = Listener(tmp_path, client, tuple(membership.account_rules("xen1")))
    yield listener
    listener.app.close()


class TestPortalAway:
    def test_of_what_it_says_of_itself_the_newest_waits(self, listener: Listener) -> None:
        # six a minute, an hour
        listener.says(TASK_OBSERVATION, *(str(number) for number in range(366)))
        assert listener.waiting(SEEN) == ["365"]
        assert 0 < listener.client.ttl(SEEN) <= OBSERVATIONS_KEPT[1]

    def test_of_what_it_says_of_jobs_the_newest_wait(self, listener: Listener) -> None:
        count = REPORTS_KEPT[0] + 5
        listener.says(TASK_REPORT, *(str(number) for number in range(count)))
        assert listener.waiting(REPORTS) == [str(number) for number in reversed(range(5, count))]
        assert 0 < listener.client.ttl(REPORTS) <= REPORTS_KEPT[1]


class TestAccount:
    def test_of_an_older_portal_is_good_for_the_shared_queue(
        self, tmp_path: Path, client: redis.Redis
    ) -> None:
        listener = Listener(tmp_path, client, OLDER_RULES)
        listener.says(TASK_OBSERVATION, "seen")
        listener.says(TASK_REPORT, "done")
        assert sorted(map(str, listener.waiting(QUEUE_REPORTS))) == ["done", "seen"]
        listener.app.close()

    def test_that_may_nothing_is_the_portal_away(self, tmp_path: Path, client: redis.Redis) -> None:
        listener = Listener(tmp_path, client, ("-@all", "+ping", "+hello", "+client|setname", "+select"))
        with pytest.raises(PortalAway):
            listener.says(TASK_REPORT, "done")
        listener.app.close()

    def test_names_the_queues_that_the_contract_names(self) -> None:
        words = " ".join(membership.account_rules("xen1")).replace("(", " ").split()
        assert {f"%W~{REPORTS}", f"%W~{SEEN}", f"~{queue_for('xen1')}"} <= set(words)

    def test_may_run_no_script(self, listener: Listener, tmp_path: Path) -> None:
        with redis.Redis(
            unix_socket_path=str(tmp_path / "redis.sock"),
            username="dom0.xen1",
            password=PASSWORD,
            protocol=2,
        ) as host:
            for command in (("EVAL", "return 1", "0"), ("EVALSHA", "0" * 40, "0"), ("SCRIPT", "FLUSH")):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    host.execute_command(*command)
