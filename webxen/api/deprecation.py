"""Announce the removal of an operation; docs/compatibility.md has the notice period.

Headers: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), and `Link` to the replacement.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils.http import http_date


@dataclass(frozen=True)
class Deprecation:
    """Dates (2027-01-31) from which new clients should not use an operation, and of its removal."""

    since: str
    until: str
    #: URL of the page that describes the replacement
    instead: str

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Deprecation": f"@{_seconds(self.since)}",
            "Sunset": http_date(_seconds(self.until)),
            "Link": f'<{self.instead}>; rel="deprecation"',
        }


def _seconds(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
