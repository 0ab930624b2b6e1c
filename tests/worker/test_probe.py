"""One pool that hangs is left out, and asked again when it is back; the others are told as ever."""

import dataclasses
import logging
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.worker_host import WorkerHost
from worker.observe import observer
from worker.observe.contents import HostContents
from worker.observe.probe import PoolProbe
from worker.storage import Pools
from worker.storage.file import ID_FILE


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Path]:
    """A directory that answers nobody: who reads its id waits, as for a server that is away."""
    directory = tmp_path / "nas"
    directory.mkdir()
    os.mkfifo(directory / ID_FILE)
    (directory / "waiting").hardlink_to(directory / ID_FILE)
    yield directory
    come_back(directory)


def come_back(directory: Path) -> None:
    """Answer from now on, and then whoever waits."""
    text = f"{uuid.uuid4()}\n"
    if (directory / ID_FILE).is_fifo():
        (directory / "id").write_text(text)
        (directory / "id").replace(directory / ID_FILE)
        (directory / "waiting").write_text(text)


def asked() -> int:
    return sum(thread.name == "pool nas" for thread in threading.enumerate())


def test_a_pool_that_hangs_is_left_out_until_it_is_back(
    worker_host: WorkerHost, away: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = dataclasses.replace(worker_host.settings, file_pools={"nas": away})
    probe = PoolProbe(seconds=1)
    contents = HostContents(config, probe=probe)
    with caplog.at_level(logging.WARNING):
        assert [pool.name for pool in observer.read_pools(Pools(config), probe)] == ["local"]
        assert contents.look().pools == ("local",)
        assert [pool.name for pool in observer.read_pools(Pools(config), probe)] == ["local"]
    assert "pool nas cannot be read: it has not answered for 1 s" in caplog.text
    assert "the volumes of pool nas cannot be listed: it has not answered yet" in caplog.text
    assert asked() == 1  # no second thread is sent after one that hangs
    come_back(away)
    probe.wait(20)
    assert [pool.name for pool in observer.read_pools(Pools(config), probe)] == ["local", "nas"]
    assert contents.look().pools == ("local", "nas")


def test_what_a_pool_raises_is_raised() -> None:
    def read() -> int:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        PoolProbe().ask("nas", read)
    assert PoolProbe().ask("nas", lambda: 7) == 7
