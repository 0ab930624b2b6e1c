"""Fixtures of the worker's tests: a broker, and a dom0 connected to it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector import pytest_collection_finish, pytest_configure
from tests.worker.console_bench import Broker
from tests.worker.preloaded import preloaded
from tests.worker.worker_host import WorkerHost

__all__ = ["pytest_collection_finish", "pytest_configure"]


@pytest.hookimpl(trylast=True)  # after pytest-randomly has shuffled them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start slow tests first in each of xdist's processes."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow = [item for item in items if item.get_closest_marker("slow")]
    quick = [item for item in items if not item.get_closest_marker("slow")]
    ends = [round(len(quick) * part / count) for part in range(count + 1)]
    items[:] = [
        item for part in range(count) for item in (*slow[part::count], *quick[ends[part] : ends[part + 1]])
    ]


@pytest.fixture
def redis_broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def worker_host(tmp_path: Path) -> Iterator[WorkerHost]:
    """A dom0 whose worker runs in the test's process, without a broker."""
    worker_host = WorkerHost(tmp_path)
    worker_host.listen()
    with preloaded():
        yield worker_host
    worker_host.close()


@pytest.fixture
def whole_worker_host(tmp_path: Path, redis_broker: Broker) -> Iterator[WorkerHost]:
    """A dom0 whose worker runs as real processes, with its own broker."""
    worker_host = WorkerHost(tmp_path, broker_url=redis_broker.url)
    yield worker_host
    worker_host.close()
