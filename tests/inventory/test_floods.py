"""A host that says more than is read: when that was, for staff to see."""

from datetime import timedelta

import pytest

from webxen.inventory import floods


@pytest.mark.parametrize("what", ["reports", "console"])
class TestFloods:
    def test_the_last_time_is_kept_and_written_once_a_minute(self, xen1, now, what):
        assert floods.told_of(host=xen1, now=now) == {}
        late = now + timedelta(seconds=59)
        assert [floods.note(name="xen1", what=what, now=at) for at in (now, late)] == [True, False]
        xen1.refresh_from_db()
        assert floods.told_of(host=xen1, now=late) == {what: now}
        later = now + floods.ONE_NOTE
        assert floods.note(name="xen1", what=what, now=later)
        xen1.refresh_from_db()
        assert floods.told_of(host=xen1, now=later) == {what: later}

    def test_is_not_told_for_ever(self, xen1, now, what):
        floods.note(name="xen1", what=what, now=now)
        xen1.refresh_from_db()
        assert floods.told_of(host=xen1, now=now + floods.TOLD_FOR) == {}

    def test_a_host_that_is_not_there_is_no_trouble(self, db, now, what):
        assert not floods.note(name="nobody", what=what, now=now)
