"""A machine moves between two stand-in hosts through the relay, there and back, live and suspended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.moving import Ends, Pair, names


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.close()


def told(ends: Ends) -> list[str]:
    return [f"{end.event} {end.error_code} {end.error_message}" for end in (ends.source, ends.target)]


@pytest.mark.parametrize("method", ["LIVE", "SUSPENDED"])
class TestMove:
    def test_there_and_back(self, pair: Pair, method: str) -> None:
        machine = pair.machine()
        there = pair.move(machine, pair.a, pair.b, method=method)
        assert (there.source.event, there.target.event) == ("SUCCEEDED", "SUCCEEDED"), told(there)
        assert pair.a.powers(machine) == {}
        assert pair.b.powers(machine) == {machine.domain: "RUNNING"}
        back = pair.move(machine, pair.b, pair.a, method=method)
        assert (back.source.event, back.target.event) == ("SUCCEEDED", "SUCCEEDED"), told(back)
        assert pair.a.powers(machine) == {machine.domain: "RUNNING"}
        assert pair.ran_twice() == []
        assert pair.a.bed.disk(machine).exists()
        facts = there.source.move
        assert facts is not None
        assert (facts.phase, facts.go_passed, names(facts.domains)) == ("REPORTED", True, {})
        assert facts.bytes_sent > 1 << 20
        assert facts.passes == (3 if method == "LIVE" else 1)
        assert facts.blackout_ms >= 0
