"""Folders that exist for a moment: who may remove them, and when."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.console_bench import ROOT, wait_for
from tests.worker.worker_host import WorkerHost
from worker import workspaces
from worker.images import seed_files

KIND = "webxen-seed-"
HOLDS_ONE = f"""
import time
from worker import workspaces
with workspaces.made({KIND!r}) as path:
    (path / "new-0").write_text("root:$6$secret")
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    tempfile.tempdir = None


def started(temporary: Path) -> "subprocess.Popen[bytes]":
    """Another worker in the midst of its work."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS_ONE], cwd=ROOT)
    wait_for(lambda: list(temporary.glob(f"{KIND}*/new-0")), "the folder of the other worker")
    return process


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


class TestWorkspace:
    def test_is_its_makers_alone_and_gone_afterwards(self, temporary: Path) -> None:
        with workspaces.made(KIND) as path:
            assert path.stat().st_mode & 0o777 == 0o700
            (path / "new-0").write_text("x")
        assert list(temporary.iterdir()) == []

    def test_of_a_worker_that_was_killed_goes_and_of_one_that_lives_stays(self, temporary: Path) -> None:
        process = started(temporary)
        (left,) = temporary.glob(f"{KIND}*")
        try:
            assert workspaces.remove_left(KIND) == []
            assert (left / "new-0").exists()
        finally:
            kill(process)
        assert workspaces.remove_left(KIND) == [left]
        assert list(temporary.iterdir()) == []

    def test_is_never_removed_through_a_link(self, temporary: Path) -> None:
        (temporary / "mine").mkdir()
        (temporary / f"{KIND}link").symlink_to(temporary / "mine")
        (temporary / f"{KIND}file").write_text("x")
        assert workspaces.remove_left(KIND) == []
        assert (temporary / "mine").exists()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
    def test_of_somebody_else_stays(self, temporary: Path) -> None:
        theirs = temporary / f"{KIND}theirs"
        theirs.mkdir()
        os.chown(theirs, 65534, 65534)
        assert workspaces.remove_left(KIND) == []

    def test_stays_its_makers_while_others_clean_up(self, temporary: Path) -> None:
        stopped = threading.Event()

        def clean_up() -> None:
            while not stopped.is_set():
                workspaces.remove_left(KIND)

        cleaner = threading.Thread(target=clean_up)
        cleaner.start()
        try:
            for _ in range(300):
                with workspaces.made(KIND) as path:
                    (path / "new-0").write_text("x")
        finally:
            stopped.set()
            cleaner.join()
        assert list(temporary.iterdir()) == []


class TestAgent:
    def test_removes_what_a_killed_one_left_when_it_starts(
        self, worker_host: WorkerHost, temporary: Path
    ) -> None:
        kill(started(temporary))
        worker_host.process("-m", "worker.agent.daemon", log="agent.log", env={"TMPDIR": str(temporary)})
        wait_for(lambda: not list(temporary.glob(f"{seed_files.WORKSPACE}*")), "the folder to go")
