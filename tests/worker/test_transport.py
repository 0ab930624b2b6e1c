"""What the queue's transport does when the broker goes away between taking an item and acknowledging it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis.exceptions import ConnectionError as RedisAway

from worker import transport


class ChannelWithoutRedis:
    """All that the count of unacknowledged items asks of its channel."""

    do_restore = False

    @contextmanager
    def conn_or_acquire(self, client: object = None) -> Iterator[object]:
        raise RedisAway("gone")
        yield


class TestAcknowledging:
    def test_that_fails_leaves_room_for_the_next_item(self) -> None:
        count = transport.QoS(ChannelWithoutRedis(), prefetch_count=1)
        count._delivered["tag"] = object()
        assert not count.can_consume()
        with pytest.raises(RedisAway):
            count.ack("tag")
        assert count.can_consume()
