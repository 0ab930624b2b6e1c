"""Disks gone over while they change: whatever was written in between, the last state arrives."""

import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.errors import CopyDiffers
from worker.migration import disk_copy
from worker.relay.disk_stream import BLOCK, DATA, SUM, Reader
from worker.relay.stream_parser import BadStream

SIZE = 5 * BLOCK + 70_000
#: where, how much, and what: random bytes, zeros or a hole
CHANGE = st.tuples(
    st.integers(0, SIZE - 1), st.integers(1, 2 * BLOCK), st.sampled_from(["bytes", "zeros", "hole"])
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def make(path: Path) -> int:
    path.write_bytes(b"")
    os.truncate(path, SIZE)
    return os.open(path, os.O_RDWR)


def change(disk: int, where: int, count: int, what: str) -> None:
    count = min(count, SIZE - where)
    if what == "hole":
        # the only hole that a file has without a system call of its own: at its end
        os.ftruncate(disk, where)
        os.ftruncate(disk, SIZE)
    else:
        os.pwrite(disk, os.urandom(count) if what == "bytes" else bytes(count), where)


def take(stream: bytes, target: disk_copy.Target) -> int:
    """Feed it; how many bytes of data were in it."""
    reader, end, count = Reader((source := io.BytesIO(stream)).read), len(stream), 0
    while source.tell() < end:
        kind, number, place, content = reader.record()
        assert number == 7
        if kind == DATA:
            target.write(place, content)
            count += len(content)
        elif kind == SUM:
            target.compare(content)
    return count


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(CHANGE, max_size=4), min_size=1, max_size=4))
def test_the_last_state_arrives(rounds: list[list[tuple[int, int, str]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        here, there = make(Path(name) / "here"), make(Path(name) / "there")
        try:
            out = io.BytesIO()
            source = disk_copy.Source(7, out.write, lambda _count: None, size=SIZE)
            target = disk_copy.Target(there, size=SIZE, on_bytes=lambda _count: None)
            for number, changes in enumerate(rounds):
                for one in changes:
                    change(here, *one)
                if number == len(rounds) - 1:
                    source.finish(here)
                else:
                    source.go_over(here)
            take(out.getvalue(), target)
            assert target.is_done
            assert (Path(name) / "there").read_bytes() == (Path(name) / "here").read_bytes()
        finally:
            os.close(here)
            os.close(there)


def test_what_did_not_change_is_not_sent_again(folder: Path) -> None:
    here = make(folder / "here")
    try:
        os.pwrite(here, os.urandom(SIZE), 0)
        out = io.BytesIO()
        source = disk_copy.Source(7, out.write, lambda _count: None, size=SIZE)
        assert source.go_over(here) == SIZE
        assert source.go_over(here) == 0
        os.pwrite(here, b"!", 3 * BLOCK + 5)
        assert source.finish(here) == BLOCK
    finally:
        os.close(here)


def test_nothing_is_written_after_the_digest_or_beyond_the_end(folder: Path) -> None:
    there = make(folder / "there")
    try:
        target = disk_copy.Target(there, size=SIZE, on_bytes=lambda _count: None)
        with pytest.raises(BadStream):
            target.write(SIZE - 1, b"ab")
        with pytest.raises(CopyDiffers):
            target.compare(bytes(32))
        with pytest.raises(BadStream):
            target.write(0, b"a")
    finally:
        os.close(there)
