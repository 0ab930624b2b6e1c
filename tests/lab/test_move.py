"""On two real Xen hosts a machine moves through WebXen's relay, there and back, and nothing is lost."""

import time
from collections.abc import Iterator

import pytest

from devtools.lab import lab
from tests.lab.moves import Pair, is_without_gap, longest_pause

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    lab.install_missing()
    pair = Pair(lab.up(2, say=print))
    yield pair
    pair.close()


class TestMove:
    def test_a_running_pvh_machine_moves_there_and_back(self, pair: Pair) -> None:
        machine = pair.machine()
        for source, target in ((pair.a, pair.b), (pair.b, pair.a)):
            before = source.counts(machine)
            moved = pair.move(machine, source, target)
            assert (moved.source.event, moved.target.event) == ("SUCCEEDED", "SUCCEEDED"), moved
            time.sleep(3)
            assert source.names_of(machine) == []
            assert target.names_of(machine) == [machine.domain]
            after = target.counts(machine)
            # it went on counting where it was: not booted again, nothing printed twice or never
            assert after[-1][0] > before[-1][0]
            assert is_without_gap(source.counts(machine), after)
            assert longest_pause(after) < 60
        pair.power_off(machine)

    def test_a_pv_machine_is_not_moved_live_and_moves_suspended(self, pair: Pair) -> None:
        machine = pair.machine(type="PV")
        refused = pair.move(machine, pair.a, pair.b)
        assert refused.source.error_code == "MOVE_REFUSED", refused
        moved = pair.move(machine, pair.a, pair.b, method="SUSPENDED")
        assert (moved.source.event, moved.target.event) == ("SUCCEEDED", "SUCCEEDED"), moved
        assert pair.b.names_of(machine) == [machine.domain]
        pair.power_off(machine)
