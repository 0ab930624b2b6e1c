"""The number an observation carries: it grows over restarts, lost files and clocks set back."""

import time

import pytest

from worker.observe import serial
from worker.observe.serial import Counter


@pytest.fixture
def path(tmp_path):
    return tmp_path / "observation.serial"


class TestCounter:
    def test_gives_each_number_once_over_restarts(self, path):
        told = []
        for _ in range(5):
            counter = Counter(path)
            told += [counter.take() for _ in range(3)]
        assert told == sorted(set(told))

    def test_is_on_disk_before_a_number_is_given(self, path, monkeypatch):
        monkeypatch.setattr(time, "time", lambda: 0.0)
        counter = Counter(path)
        for _ in range(2 * serial.BLOCK + 1):
            assert counter.take() < int(path.read_text())

    def test_goes_on_growing_when_the_clock_is_set_back(self, path, monkeypatch):
        last = Counter(path).take()
        monkeypatch.setattr(time, "time", lambda: 1.0)
        assert Counter(path).take() > last

    @pytest.mark.parametrize("left", [None, "", "nonsense"])
    def test_goes_on_growing_when_the_file_is_lost(self, path, left):
        last = Counter(path).take()
        path.unlink()
        if left is not None:
            path.write_text(left)
        time.sleep(0.002)
        assert Counter(path).take() > last

    def test_gives_nothing_it_could_not_write_down(self, tmp_path):
        with pytest.raises(OSError, match="No such file"):
            Counter(tmp_path / "away" / "observation.serial").take()
