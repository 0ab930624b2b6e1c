"""Weekly maintenance windows as written in settings: `Sat,Sun 01:00-05:00`. Pure.

Always UTC, where no hour of a week occurs twice or is missing.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from webxen.env import SettingError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EVERY_DAY = "daily"
FORM = re.compile(r"([A-Za-z,-]+) +(\d\d):(\d\d)-(\d\d):(\d\d)")
DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class Window:
    """A window that starts on `days` (0: Monday), `start_minute` minutes after midnight, for
    `length_minutes`.
    """

    days: frozenset[int]
    start_minute: int
    length_minutes: int

    @property
    def start(self) -> str:
        return _clock(self.start_minute)

    @property
    def end(self) -> str:
        return _clock(self.start_minute + self.length_minutes)

    @property
    def text(self) -> str:
        return f"{','.join(DAYS[day] for day in sorted(self.days))} {self.start}-{self.end}"

    def end_if_open(self, now: datetime) -> datetime | None:
        """Return when the window that contains `now` ends; None if no window is open."""
        end = self._end_of_one(now.astimezone(UTC))
        # Sat,Sun 00:00-24:00 is one window of two days
        for _ in DAYS:
            end = (end and self._end_of_one(end)) or end
        return end

    def _end_of_one(self, here: datetime) -> datetime | None:
        midnight = datetime.combine(here.date(), time(), UTC)
        # a window that began yesterday may extend past midnight
        for day in (midnight, midnight - timedelta(days=1)):
            start = day + timedelta(minutes=self.start_minute)
            end = start + timedelta(minutes=self.length_minutes)
            if day.weekday() in self.days and start <= here < end:
                return end
        return None


def _clock(minute: int) -> str:
    hours, minutes = divmod(minute % DAY_MINUTES, 60)
    return f"{hours:02}:{minutes:02}"


def read(name: str, text: str) -> Window | None:
    """Parse `Mon-Fri,Sun 22:30-04:00` or `daily 01:00-05:00`; None for an empty text. Raises SettingError.

    `name` is the setting, for the error message.
    """
    if not text.strip():
        return None
    hit = FORM.fullmatch(text.strip())
    if hit is None:
        raise _refuse(name, text)
    start = _minute(hit[2], hit[3])
    end = _minute(hit[4], hit[5])
    days = _days(hit[1])
    # 24:00 is valid only as an end
    if days is None or start is None or end is None or start in (end, DAY_MINUTES):
        raise _refuse(name, text)
    return Window(days, start, (end - start) % DAY_MINUTES or DAY_MINUTES)


def _refuse(name: str, text: str) -> SettingError:
    return SettingError(
        f"{name} is {text!r}: use days and hours in UTC, like Sat,Sun 01:00-05:00 or Mon-Fri 22:00-04:00 or"
        f" {EVERY_DAY} 01:00-05:00"
    )


def _minute(hours: str, minutes: str) -> int | None:
    minute = int(hours) * 60 + int(minutes)
    return minute if int(minutes) < 60 and minute <= DAY_MINUTES else None


def _days(text: str) -> frozenset[int] | None:
    if text.lower() == EVERY_DAY:
        return frozenset(range(len(DAYS)))
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = (word.capitalize() for word in part.partition("-"))
        if first not in DAYS or (dash and last not in DAYS):
            return None
        begin = DAYS.index(first)
        # Sat-Mon continues past the end of the week
        length = (DAYS.index(last) - begin) % len(DAYS) if dash else 0
        found |= {(begin + step) % len(DAYS) for step in range(length + 1)}
    return frozenset(found)
