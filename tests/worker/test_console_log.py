"""The console log: offsets only grow, and whatever instant a cut is interrupted at, they stay true."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.console.log import ConsoleLog

MACHINE = "0b1c2d3e-0000-4000-8000-000000000001"


def test_bytes_are_where_their_offset_says(tmp_path: Path) -> None:
    log = ConsoleLog(tmp_path, MACHINE)
    log.append(b"hello ")
    log.append(b"world")
    assert (log.start, log.end) == (0, 11)
    assert log.read(6, 100) == b"world"
    assert log.read(0, 5) == b"hello"
    assert log.read(11, 5) == b""


def test_a_new_process_counts_on(tmp_path: Path) -> None:
    first = ConsoleLog(tmp_path, MACHINE, most=100, keep=40)
    for number in range(30):
        first.append(f"{number:09d}\n".encode())
    second = ConsoleLog(tmp_path, MACHINE, most=100, keep=40)
    assert (second.start, second.end) == (first.start, 300)
    assert second.read(290, 10) == b"000000029\n"
    assert second.path.stat().st_size <= 100


@given(st.lists(st.binary(max_size=50), max_size=60), st.integers(0, 59))
@settings(max_examples=60, deadline=None)
def test_whatever_is_appended_the_kept_bytes_are_the_last(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], reopen_at: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    log = ConsoleLog(directory, MACHINE, most=200, keep=64)
    said = b""
    for number, piece in enumerate(pieces):
        if number == reopen_at:
            log = ConsoleLog(directory, MACHINE, most=200, keep=64)
        log.append(piece)
        said += piece
    assert log.end == len(said)
    assert log.read(log.start, 10_000) == said[log.start :]
    assert log.end - log.start >= min(len(said), 64)


def test_a_cut_interrupted_before_the_rename_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ConsoleLog(tmp_path, MACHINE, most=100, keep=40)
    log.append(b"a" * 90)

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        log.append(b"b" * 20)
    again = ConsoleLog(tmp_path, MACHINE, most=100, keep=40)
    assert (again.start, again.end, again.read(0, 100)) == (0, 90, b"a" * 90)


def test_a_lost_log_counts_on_after_what_was_shown(tmp_path: Path) -> None:
    log = ConsoleLog(tmp_path, MACHINE)
    log.append(b"new")  # printed before anybody could ask how far readers had come
    log.count_on_from(1000)
    log.append(b"er")
    assert (log.start, log.end, log.read(1000, 9)) == (1000, 1005, b"newer")
    again = ConsoleLog(tmp_path, MACHINE)
    assert (again.start, again.end) == (1000, 1005)
    again.append(b"!")
    again.count_on_from(1005)
    assert (again.start, again.end, again.read(1000, 9)) == (1000, 1006, b"newer!")


def test_a_full_disk_costs_old_bytes_and_never_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ConsoleLog(tmp_path, MACHINE)
    log.append(b"abc")
    real = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.append(b"lost")
    monkeypatch.setattr(os, "write", real)
    log.append(b"kept")
    assert (log.start, log.end) == (7, 11)
    assert log.read(7, 10) == b"kept"
    again = ConsoleLog(tmp_path, MACHINE)
    assert (again.start, again.end) == (7, 11)
