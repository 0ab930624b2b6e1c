"""A whole worker on a broker that answers with errors: it waits, and goes on by itself."""

import time

import pytest

from tests import broker_errors
from tests.worker.console_bench import Broker, wait_for
from tests.worker.whole import Portal, Worker, log_of
from tests.worker.worker_host import WorkerHost


@pytest.mark.slow
class TestDoor:
    def test_lives_through_each_of_them_and_obeys_the_next_order(
        self, whole_worker_host: WorkerHost, redis_broker: Broker
    ) -> None:
        portal, worker = Portal(whole_worker_host, redis_broker), Worker(whole_worker_host, is_hasty=True)
        image = whole_worker_host.template()
        for name, trouble in broker_errors.ALL.items():
            with redis_broker.client() as admin, trouble(admin):
                time.sleep(2.5)  # longer than it waits for a message: it asks again meanwhile
                assert worker.is_alive, (name, log_of(whole_worker_host)[-3000:])
            order = whole_worker_host.order("poweroff", whole_worker_host.machine(image))
            portal.order(order)
            end = wait_for(lambda order=order: portal.end_of(order), f"the end after {name}", 40)
            assert (name, end.event) == (name, "SUCCEEDED")
            assert worker.is_alive, name
