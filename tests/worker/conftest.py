"""Fixtures of the worker's tests: a broker of their own and a dom0 on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector import pytest_collection_finish, pytest_configure
from tests.worker.bed import Bed
from tests.worker.console_bench import Broker
from tests.worker.preloaded import preloaded

__all__ = ["pytest_collection_finish", "pytest_configure"]


@pytest.fixture
def redis_broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """A dom0 whose worker runs in the test, without a broker."""
    bed = Bed(tmp_path)
    bed.listen()
    with preloaded():
        yield bed
    bed.close()


@pytest.fixture
def whole_bed(tmp_path: Path, redis_broker: Broker) -> Iterator[Bed]:
    """A dom0 whose worker is the real processes, on a broker of its own."""
    bed = Bed(tmp_path, broker_url=redis_broker.url)
    yield bed
    bed.close()
