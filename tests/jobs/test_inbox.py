"""Hosts' queues on a real Redis, as the reports process reads them: in turn, each kept short."""

import base64
import json
import logging

import pytest
from redis import Redis

from tests.worker.console_bench import Broker
from webxen.inbox.queues import MOST_BYTES, PAUSE_SECONDS, Inbox
from worker import contract


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("inbox"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def redis(server):
    with server.client() as client:
        client.flushall()
        yield client


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


class Desk:
    """An inbox that listens to some hosts, and what lies in it."""

    def __init__(self, redis: Redis, *hosts: str):
        self.redis, self.clock = redis, Clock()
        self.inbox = Inbox(redis, now=self.clock)
        self.inbox.listen_to(hosts)
        self.inbox.take()  # from now on it has listened

    def put(self, queue, *items):
        for item in items:
            self.redis.lpush(queue, item)

    def take(self, count):
        return [taken.raw.decode() if (taken := self.inbox.take()) else None for _ in range(count)]


REPORTS1, REPORTS2 = (contract.report_queue_for(f"xen{number}") for number in (1, 2))
SEEN1, SEEN2 = (contract.observation_queue_for(f"xen{number}") for number in (1, 2))


class TestTurns:
    def test_a_flood_of_one_host_keeps_no_other_waiting(self, redis):
        desk = Desk(redis, "xen1", "xen2")
        desk.put(REPORTS1, *(f"junk {number}" for number in range(500)))
        desk.put(SEEN1, "xen1 itself")
        desk.put(REPORTS2, "xen2's job")
        desk.put(SEEN2, "xen2 itself")
        desk.put(contract.QUEUE_REPORTS, "an older worker")
        taken = desk.take(8)
        assert {"xen1 itself", "xen2's job", "xen2 itself", "an older worker"} < set(taken)
        assert len([one for one in taken if one.startswith("junk")]) == 4

    def test_what_a_host_says_of_a_job_comes_in_its_order(self, redis):
        desk = Desk(redis, "xen1")
        desk.put(REPORTS1, "STARTED", "STEP", "SUCCEEDED")
        assert desk.take(3) == ["STARTED", "STEP", "SUCCEEDED"]

    def test_a_host_taken_out_is_heard_no_more_and_a_new_one_is(self, redis):
        desk = Desk(redis, "xen1")
        desk.put(REPORTS1, "x")
        desk.put(REPORTS2, "y")
        desk.inbox.listen_to(["xen2"])
        assert desk.take(2) == ["y", None]

    def test_what_could_not_be_worked_on_is_the_next_of_its_queue(self, redis):
        desk = Desk(redis, "xen1")
        desk.put(REPORTS1, "first", "second")
        desk.inbox.put_back(desk.inbox.take())
        assert desk.take(2) == ["first", "second"]


class TestPause:
    """A host that died meanwhile would else be taken for alive."""

    def test_what_was_there_at_the_start_is_old_and_nothing_else(self, redis):
        redis.lpush(contract.QUEUE_REPORTS, "1", "2")
        redis.lpush(SEEN1, "was seen")
        redis.lpush(REPORTS1, "an end")
        inbox = Inbox(redis)
        inbox.listen_to(["xen1"])
        first = [inbox.take() for _ in range(3)]
        redis.lpush(contract.QUEUE_REPORTS, "3")
        assert [(one.raw, one.is_old) for one in first if one.queue == contract.QUEUE_REPORTS] == [
            (b"1", True),
            (b"2", True),
        ]
        assert [one.raw for one in first if one.queue == REPORTS1] == [b"an end"]
        assert not inbox.take().is_old

    def test_a_process_that_stood_still_counts_again(self, redis):
        desk = Desk(redis, "xen1")
        desk.put(SEEN1, "before the pause")
        desk.put(contract.QUEUE_REPORTS, "before the pause, too")
        desk.clock.seconds += PAUSE_SECONDS + 1
        taken = desk.inbox.take()
        assert (taken.raw, taken.is_old) == (b"before the pause, too", True)
        assert desk.inbox.take() is None

    def test_a_long_queue_that_is_worked_on_is_not_old(self, redis):
        desk = Desk(redis)
        desk.put(contract.QUEUE_REPORTS, *"abcdef")
        for _ in range(6):
            desk.clock.seconds += PAUSE_SECONDS / 2
            assert not desk.inbox.take().is_old


class TestShorten:
    def test_more_messages_than_an_honest_worker_leaves_are_dropped_and_told(self, redis, caplog):
        desk = Desk(redis, "xen1", "xen2")
        most = contract.REPORTS_KEPT[0]
        redis.lpush(REPORTS1, *range(20_000))
        redis.lpush(REPORTS2, "xen2's job")
        with caplog.at_level(logging.WARNING):
            assert desk.inbox.shorten() == ["xen1"]
        assert redis.llen(REPORTS1) == most
        assert redis.llen(REPORTS2) == 1
        assert "xen1 said too much: 20000 messages" in caplog.text
        assert desk.inbox.shorten() == []

    def test_large_messages_are_dropped_before_they_are_many(self, redis):
        desk = Desk(redis, "xen1")
        for _ in range(30):
            redis.lpush(REPORTS1, "x" * (1 << 20))
        assert redis.memory_usage(REPORTS1) > MOST_BYTES
        assert desk.inbox.shorten() == ["xen1"]
        assert not redis.exists(REPORTS1)

    def test_of_what_a_host_says_of_itself_one_is_kept(self, redis):
        desk = Desk(redis, "xen1")
        redis.lpush(SEEN1, *range(100))
        desk.inbox.shorten()
        assert redis.lrange(SEEN1, 0, -1) == [b"99"]

    def test_the_shared_queue_of_older_workers_is_kept_short_too(self, redis):
        desk = Desk(redis)
        redis.lpush(contract.QUEUE_REPORTS, *range(5000))
        assert desk.inbox.shorten() == [""]
        assert redis.llen(contract.QUEUE_REPORTS) == contract.REPORTS_KEPT[0]


def item(**headers):
    """As Celery writes it."""
    told = {"task": contract.TASK_REPORT, "id": "1", "eta": None, "expires": None, "group": None}
    told |= {
        "retries": 0,
        "timelimit": [None, None],
        "group_index": None,
        "stamps": {},
        "stamped_headers": None,
    }
    more = headers.pop("more", {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    keywords = headers.pop("keywords", {})
    return {
        "body": base64.b64encode(json.dumps([["envelope"], keywords, more]).encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": told | headers,
        "properties": {
            "delivery_tag": "t",
            "delivery_info": {"exchange": "", "routing_key": REPORTS1},
            "body_encoding": "base64",
        },
    }


class TestItems:
    def test_what_celery_writes_is_read(self):
        read = contract.read_item(json.dumps(item()).encode())
        assert (read.task, read.untrusted_envelope) == (contract.TASK_REPORT, "envelope")

    @pytest.mark.parametrize(
        "untrusted",
        [
            {"eta": "2030-01-01T00:00:00"},
            {"eta": 5},
            {"expires": "2030-01-01T00:00:00"},
            {"expires": 10},
            {"retries": 3},
            {"retries": "x"},
            {"timelimit": [5, None]},
            {"timelimit": "x"},
            {"group": "g"},
            {"group_index": 1},
            {"chord": {"task": "webxen.sweep"}},
            {"callbacks": [{"task": "webxen.sweep"}]},
            {"stamps": {"a": 1}},
            {"stamped_headers": ["a"]},
            {"compression": "zlib"},
            {"more": {"callbacks": [{"task": "webxen.sweep"}]}},
            {"more": {"errbacks": [{"task": "webxen.sweep"}]}},
            {"more": {"chain": [{"task": "webxen.sweep"}]}},
            {"more": {"chord": {"task": "webxen.sweep"}}},
            {"more": {"something": "new"}},
            {"more": []},
            {"keywords": {"untrusted_envelope": "x"}},
            {f"h{number}": 1 for number in range(60)},
            {"argsrepr": "x" * 20_000},
            {"deep": [[[[[[[[[[1]]]]]]]]]]},
        ],
        ids=lambda value: next(iter(value)),
    )
    def test_what_would_be_kept_repeated_or_passed_on_is_refused(self, untrusted):
        spoiled = item(**untrusted)
        assert contract.find_fault(spoiled) != ""
        with pytest.raises(contract.BadItem):
            contract.read_item(json.dumps(spoiled).encode())

    @pytest.mark.parametrize(
        "body", ["", "!!!", "bm90IGpzb24=", "bnVsbA==", "WzEsIDIsIDNd", "x" * (contract.MAX_ITEM_BYTES + 4)]
    )
    def test_a_body_that_is_no_task_is_refused(self, body):
        with pytest.raises(contract.BadItem):
            contract.read_item(json.dumps({**item(), "body": body}).encode())

    def test_only_on_the_clocks_queue_may_it_expire(self):
        assert contract.find_fault(item(expires="2030-01-01T00:00:00"), may_expire=True) == ""
        assert contract.find_fault(item(eta="2030-01-01T00:00:00"), may_expire=True) != ""
