"""A weekly window: when it is open, and the sentence that stops the start where it cannot be read."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from webxen.core import windows
from webxen.env import SettingError


def read(text: str) -> windows.Window:
    found = windows.read("WEBXEN_BALANCE_WINDOW", text)
    assert found is not None
    return found


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """November 2026: the 28th is a Saturday."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


class TestAWindow:
    def test_is_closed_where_none_is_set(self) -> None:
        assert windows.read("WEBXEN_BALANCE_WINDOW", "  ") is None

    @pytest.mark.parametrize(
        ("text", "days", "start", "end"),
        [
            ("Sat,Sun 01:00-05:00", {5, 6}, "01:00", "05:00"),
            ("mon-fri 22:30-04:00", {0, 1, 2, 3, 4}, "22:30", "04:00"),
            ("Sat-Mon,Wed 00:00-24:00", {5, 6, 0, 2}, "00:00", "00:00"),
            ("daily  01:00-05:00", set(range(7)), "01:00", "05:00"),
            ("Tue 10:00-10:01", {1}, "10:00", "10:01"),
        ],
    )
    def test_is_read(self, text: str, days: set[int], start: str, end: str) -> None:
        window = read(text)
        assert (window.days, window.start, window.end) == (days, start, end)

    @pytest.mark.parametrize(
        "text",
        [
            "Sat",
            "01:00-05:00",
            "Sat 1:00-5:00",
            "Sat 01:00",
            "Caturday 01:00-05:00",
            "Sat, 01:00-05:00",
            "Sat- 01:00-05:00",
            "Mon-Wed-Fri 01:00-05:00",
            "Sat 25:00-26:00",
            "Sat 01:60-02:00",
            "Sat 24:00-02:00",
            "Sat 00:00-24:01",
            "Sat 01:00-01:00",
            "0 1 * * 6",
        ],
    )
    def test_that_cannot_be_read_stops_the_start(self, text: str) -> None:
        with pytest.raises(SettingError, match=r"WEBXEN_BALANCE_WINDOW is .* use days and hours in UTC"):
            windows.read("WEBXEN_BALANCE_WINDOW", text)

    def test_opens_and_closes_on_the_minute(self) -> None:
        window = read("Sat,Sun 01:00-05:00")
        assert window.end_if_open(at(28, 0, 59)) is None
        assert window.end_if_open(at(28, 1)) == at(28, 5)
        assert window.end_if_open(at(28, 4, 59)) == at(28, 5)
        assert window.end_if_open(at(28, 5)) is None
        assert window.end_if_open(at(27, 2)) is None

    def test_reaches_over_midnight_from_the_day_it_began_on(self) -> None:
        window = read("Fri 22:00-04:00")
        assert window.end_if_open(at(27, 23)) == at(28, 4)
        assert window.end_if_open(at(28, 3)) == at(28, 4)
        assert window.end_if_open(at(28, 22)) is None
        assert window.end_if_open(at(27, 3)) is None

    def test_of_a_whole_day_ends_with_it(self) -> None:
        window = read("Sat 00:00-24:00")
        assert window.end_if_open(at(28, 23, 59)) == at(29, 0)
        assert window.end_if_open(at(29, 0)) is None

    def test_goes_on_where_the_next_begins_at_its_end(self) -> None:
        window = read("Sat,Sun 00:00-24:00")
        assert window.end_if_open(at(28, 12)) == at(30, 0)
        assert read("daily 00:00-24:00").end_if_open(at(28, 12)) > at(30, 0)

    def test_is_in_utc_whatever_zone_the_clock_speaks(self) -> None:
        moscow = timezone(timedelta(hours=3))
        assert read("Sat 01:00-05:00").end_if_open(datetime(2026, 11, 28, 4, 30, tzinfo=moscow)) == at(28, 5)
