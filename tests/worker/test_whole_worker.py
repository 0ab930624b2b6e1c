"""The worker as it runs on a dom0: listener, agent and consoled as processes on a real Redis."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.worker.console_bench import Broker, wait_for
from tests.worker.whole import QUEUE, Portal, Worker, log_of
from tests.worker.worker_host import WorkerHost
from worker.contract import TASK_OBEY


@pytest.fixture
def portal(whole_worker_host: WorkerHost, redis_broker: Broker) -> Portal:
    return Portal(whole_worker_host, redis_broker)


def is_idle(worker_host: WorkerHost, broker: Broker) -> Callable[[], bool]:
    def look() -> bool:
        with broker.client() as client:
            return client.llen(QUEUE) == 0

    return look


@pytest.mark.slow
class TestWholeWorker:
    def test_from_order_to_login_prompt_and_away_again(
        self, whole_worker_host: WorkerHost, redis_broker: Broker, portal: Portal
    ) -> None:
        worker_host = whole_worker_host
        worker_host.process("-m", "worker.console.daemon", log="consoled.txt")
        worker = Worker(worker_host)
        machine = worker_host.machine()
        order = worker_host.order("create", machine, deadline_seconds=60)
        portal.order(order)
        end = wait_for(lambda: portal.end_of(order), "the end", 60)
        assert (end.event, end.error_message, end.power) == ("SUCCEEDED", "", "RUNNING")
        assert {"DISK", "LOGIN"} <= {report.step for report in portal.reports}

        portal.order(order)  # told twice, heard twice, done once
        count = len([r for r in portal.reports if r.event == "SUCCEEDED"])
        wait_for(
            lambda: (portal.read(), len([r for r in portal.reports if r.event == "SUCCEEDED"]) > count)[1],
            "the second answer",
            30,
        )
        assert len(worker_host.stand_in.runs()) == 1

        delete = worker_host.order("delete", machine)
        portal.order(delete)
        assert wait_for(lambda: portal.end_of(delete), "the deletion", 30).event == "SUCCEEDED"
        assert worker_host.domains() == []
        assert worker.is_alive

    def test_killed_in_the_middle_of_a_job_and_started_again(
        self, whole_worker_host: WorkerHost, redis_broker: Broker, portal: Portal
    ) -> None:
        worker_host = whole_worker_host
        worker_host.process("-m", "worker.console.daemon", log="consoled.txt")
        worker = Worker(worker_host)
        worker_host.stand_in.lay_out(create={"at": "done", "slow": 5})
        machine = worker_host.machine()
        order = worker_host.order("create", machine, deadline_seconds=60)
        portal.order(order)
        wait_for(lambda: "DOMAIN" in {r.step for r in (portal.read(), portal.reports)[1]}, "the domain", 60)
        worker.kill()
        worker_host.stand_in.lay_out()
        Worker(worker_host)
        end = wait_for(lambda: portal.end_of(order), "the end", 60)
        assert end.event == "SUCCEEDED", end
        assert worker_host.domains() == [machine.id]
        assert len(worker_host.stand_in.runs()) == 1

    def test_the_broker_goes_away_and_comes_back(
        self, whole_worker_host: WorkerHost, redis_broker: Broker, portal: Portal
    ) -> None:
        worker_host = whole_worker_host
        worker_host.listen()
        worker = Worker(worker_host)
        worker_host.stand_in.lay_out(create={"at": "start", "slow": 3})
        order = worker_host.order("create", worker_host.machine(), deadline_seconds=60)
        portal.order(order)
        wait_for(lambda: "DOMAIN" in {r.step for r in (portal.read(), portal.reports)[1]}, "the domain", 60)
        redis_broker.stop()
        wait_for(lambda: "SUCCEEDED" in _ends(worker_host), "the end in the journal", 60)
        redis_broker.start()
        portal = Portal(worker_host, redis_broker)
        end = wait_for(lambda: portal.end_of(order), "the end report", 90)
        assert end.event == "SUCCEEDED"
        assert worker.is_alive
        later = worker_host.order("poweroff", worker_host.machine())
        portal.order(later)
        assert wait_for(lambda: portal.end_of(later), "the next job", 60).event == "SUCCEEDED"


def _ends(worker_host: WorkerHost) -> str:
    return "".join(path.read_text() for path in worker_host.settings.journal_dir.glob("[!.]*.json"))


def kombu_item(**changes: Any) -> str:
    """An item as Kombu writes it, spoiled."""
    item: dict[str, Any] = {
        "body": "W1tdLCB7fSwge31d",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": TASK_OBEY, "id": "x", "lang": "py", "root_id": "x", "argsrepr": ""},
        "properties": {
            "delivery_tag": "t",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "body_encoding": "base64",
            "correlation_id": "x",
            "reply_to": "y",
            "delivery_mode": 2,
            "priority": 0,
        },
    }
    for path, value in changes.items():
        place = item
        *parents, last = path.split("__")
        for parent in parents:
            place = place[parent]
        place[last] = value
    return json.dumps(item)


POISON: list[bytes | str] = [
    b"not json",
    b"",
    b"\xff\xfe\x00",
    b"null",
    b"5",
    b"[]",
    b"{}",
    b"[" * 100_000,
    b'{"properties": null}',
    b'{"__type__": "datetime", "__value__": 5}',
    b'{"__type__": "decimal", "__value__": "x"}',
    kombu_item(),
    kombu_item(body="!!!"),
    kombu_item(body=5),
    kombu_item(body="bm90IGpzb24="),
    kombu_item(body="bnVsbA=="),
    kombu_item(body="WzEsIDIsIDNd"),
    kombu_item(body="W1tdLCB7fSwgeyJjaGFpbiI6IDV9XQ=="),
    kombu_item(headers=None),
    kombu_item(headers={}),
    kombu_item(headers__task="celery.chain"),
    kombu_item(headers__task="os.system"),
    kombu_item(headers__task=["a"]),
    kombu_item(headers__id=None),
    kombu_item(headers__eta="not a time"),
    kombu_item(headers__eta=5),
    kombu_item(headers__expires="x"),
    kombu_item(headers__retries="x"),
    kombu_item(headers__timelimit="x"),
    kombu_item(headers__compression="gzip"),
    kombu_item(headers__group={"a": 1}),
    kombu_item(properties__delivery_tag=None),
    kombu_item(properties__delivery_info=5),
    kombu_item(properties__body_encoding="rot13"),
    kombu_item(**{"content-type": "application/x-python-serialize"}),
    kombu_item(**{"content-encoding": "no-such-code"}),
    kombu_item(properties__priority="x"),
    kombu_item(properties__correlation_id=5),
    kombu_item(properties__reply_to=[1]),
]


@pytest.mark.slow
def test_poison_on_the_queue_does_not_end_the_worker(
    whole_worker_host: WorkerHost, redis_broker: Broker, portal: Portal
) -> None:
    worker_host = whole_worker_host
    worker = Worker(worker_host)
    for item in POISON:
        with redis_broker.client() as client:
            client.lpush(QUEUE, item)
        wait_for(is_idle(worker_host, redis_broker), f"{item[:80]!r} to be taken", 20)
        time.sleep(0.05)
        assert worker.is_alive, f"{item[:200]!r}\n{log_of(worker_host)[-3000:]}"
    for args in ((), (1, 2), ({},), ("x",), (None,)):
        portal.send(*args)
    portal.send("x", task="worker.destroy_everything")
    portal.send("x", task="celery.backend_cleanup")
    order = worker_host.order("poweroff", worker_host.machine())
    portal.order(order)
    end = wait_for(lambda: portal.end_of(order), "an honest order's end", 60)
    assert end.event == "SUCCEEDED"
    assert worker.is_alive
    assert "Unrecoverable" not in log_of(worker_host)
    assert log_of(worker_host).count("dropped") >= 20


@pytest.mark.slow
def test_what_the_host_says_of_itself(
    whole_worker_host: WorkerHost, redis_broker: Broker, portal: Portal
) -> None:
    worker_host = whole_worker_host
    worker_host.listen()
    machine = worker_host.machine()
    assert worker_host.do(worker_host.dom0(), "create", machine).event == "SUCCEEDED"
    Worker(worker_host)
    wait_for(lambda: (portal.read(), portal.observations)[1], "an observation", 30)
    said = portal.observations[-1]
    serials = [observation.serial for observation in portal.observations]
    assert serials[0] > 0
    assert serials == sorted(set(serials))
    assert said.host == "xen1"
    assert said.at > 0
    assert said.facts["xen_version"].startswith("4.")
    assert {"nr_cpus", "virt_caps", "xen_changeset", "cc_compiler"} <= set(said.facts)
    assert [(pool.name, pool.kind) for pool in said.pools] == [("local", "FILE")]
    assert said.pools[0].free_mib > 0
    assert said.domains is not None
    assert [(d.uuid, d.power, d.memory_mib, d.vcpus) for d in said.domains] == [
        (machine.id, "RUNNING", 128, 1)
    ]
    assert said.machine_ids == (machine.id,)
    wait_for(
        lambda: (portal.read(), portal.observations[-1].images == {"minimal.ext4": machine.image.sha256})[1],
        "the image's digest",
        30,
    )

    # somebody pulls the plug by hand: told at once, not on the clock
    count, began = len(portal.observations), time.monotonic()
    subprocess.run([worker_host.stand_in.xl, "destroy", machine.domain], check=True, timeout=30)
    wait_for(lambda: (portal.read(), len(portal.observations) > count)[1], "the news", 9)
    assert portal.observations[-1].domains == ()
    assert time.monotonic() - began < 9

    worker_host.stand_in.lay_out(list={"empty": True})
    wait_for(lambda: (portal.read(), portal.observations[-1].domains is None)[1], "unknown", 30)
