"""A whole worker on a broker that answers with errors: it waits, and goes on by itself."""

import time

import pytest

from tests import broker_errors
from tests.worker.bed import Bed
from tests.worker.console_bench import Broker, wait_for
from tests.worker.whole import Portal, Worker, log_of


@pytest.mark.slow
class TestDoor:
    @pytest.mark.parametrize("name", broker_errors.ALL)
    def test_lives_through_it_and_obeys_the_next_order(
        self, name: str, whole_bed: Bed, redis_broker: Broker
    ) -> None:
        portal, worker = Portal(whole_bed, redis_broker), Worker(whole_bed)
        with redis_broker.client() as admin, broker_errors.ALL[name](admin):
            time.sleep(12)  # longer than it waits for a message: it asks again meanwhile
            assert worker.is_alive, log_of(whole_bed)[-3000:]
        order = whole_bed.order("poweroff", whole_bed.machine())
        portal.order(order)
        end = wait_for(lambda: portal.end_of(order), "the end", 40)
        assert end.event == "SUCCEEDED"
        assert worker.is_alive
