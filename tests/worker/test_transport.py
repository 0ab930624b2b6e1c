"""What the queue's transport does with what it cannot put back when it ends."""

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisAway

from worker import queue_transport


class ChannelWithoutRedis:
    """All that the count of unacknowledged items asks of its channel."""

    do_restore = True

    def _restore(self, message: object) -> None:
        raise RedisAway("gone")


class TestPuttingBack:
    def test_that_fails_is_said_in_one_line_and_writes_no_file(
        self, caplog: pytest.LogCaptureFixture, capsys: Any
    ) -> None:
        count = queue_transport.GuardedQoS(ChannelWithoutRedis(), prefetch_count=1)
        count.append(object(), "tag")
        count.restore_unacked_once()
        assert "1 messages could not be put back" in caplog.text
        assert "EMERGENCY" not in capsys.readouterr().err
        assert count.can_consume()

    def test_nothing_is_asked_of_redis_to_acknowledge(self) -> None:
        count = queue_transport.GuardedQoS(ChannelWithoutRedis(), prefetch_count=1)
        count.append(object(), "tag")
        assert not count.can_consume()
        count.ack("tag")
        assert count.can_consume()
