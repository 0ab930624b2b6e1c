"""A host's clock that is wrong is told to staff, and nothing else comes of it."""

import dataclasses
from datetime import timedelta

import pytest
import time_machine

from tests.fixtures import NOW, observe
from webxen.diagnostics.verify import verify
from webxen.inventory import queries
from webxen.inventory.models import Host
from webxen.inventory.queries import WrongClock
from webxen.jobs import observing


@pytest.fixture
def say(xen1):
    """Let xen1 say something `ahead` seconds before the portal's clock shows that; heard so much `late`r."""

    def say(ahead, *, late=0, **changed):
        said = observe(xen1)
        now = NOW + timedelta(seconds=late)
        said = dataclasses.replace(said, at=int(NOW.timestamp()) + ahead, **changed)
        observing.apply_observation(host=xen1, observation=said, now=now)
        xen1.refresh_from_db()
        return queries.wrong_clock_of(host=xen1, now=now)

    return say


class TestClock:
    @pytest.mark.parametrize("ahead", [0, 1, 59, -1, -86000])
    def test_that_is_right_or_behind_is_nothing_to_tell(self, say, ahead):
        assert say(ahead) is None

    def test_that_is_ahead_drops_orders_once_it_is_further_than_they_live(self, say, settings):
        settings.WEBXEN_ORDER_TTL_SECONDS = 300
        assert say(60) == WrongClock(60, drops_orders=False)
        assert say(299) == WrongClock(299, drops_orders=False)
        assert say(7380) == WrongClock(7380, drops_orders=True)

    def test_is_not_called_wrong_because_its_word_came_late(self, say):
        assert say(0, late=7380) is None
        assert say(7380, late=7380) is None

    def test_is_right_again_with_the_next_word(self, say):
        assert say(7380) is not None
        assert say(0) is None

    def test_of_a_host_that_is_silent_is_not_known(self, say, xen1):
        assert say(7380) is not None
        assert queries.wrong_clock_of(host=xen1, now=NOW + timedelta(minutes=5)) is None

    def test_of_a_worker_that_does_not_say_is_not_known(self, say, xen1):
        assert say(-int(NOW.timestamp())) is None  # at=0
        assert xen1.clock_ahead_seconds is None

    def test_in_a_far_future_is_still_a_number(self, say):
        assert say(10**30) == WrongClock(2**31 - 1, drops_orders=True)

    def test_decides_nothing(self, say, xen1):
        say(7380)
        xen1.refresh_from_db()
        assert (xen1.state, queries.is_silent(host=xen1, now=NOW)) == (Host.State.ACTIVE, False)


class TestPages:
    def test_that_is_ahead_is_told_to_staff_with_its_cure(self, say, as_, dana):
        say(7380)
        sentence = "The clock of xen1 is 2 h 3 min ahead; it rejects jobs as expired. Set it (chrony)."
        with time_machine.travel(NOW, tick=False):
            for page in ("/hosts/", "/hosts/xen1/"):
                assert sentence in as_(dana).get(page).content.decode()
            assert [finding.code for finding in verify(host=None, fixed_by=None, now=NOW).findings].count(
                "CLOCK_AHEAD"
            ) == 1

    def test_of_a_host_that_staff_has_not_accepted_yet_is_told_as_well(self, say, xen1, as_, dana):
        Host.objects.update(state=Host.State.NEW)
        say(100)
        with time_machine.travel(NOW, tick=False):
            page = as_(dana).get("/hosts/xen1/").content.decode()
        assert "The clock of xen1 is 1 min 40 s ahead. Set it (chrony)" in page

    def test_of_a_host_that_is_right_is_not_mentioned(self, say, as_, dana):
        say(0)
        with time_machine.travel(NOW, tick=False):
            for page in ("/hosts/", "/hosts/xen1/"):
                assert "The clock" not in as_(dana).get(page).content.decode()
