"""How an operation says that it will go: docs/compatibility.md promises how long before.

Headers: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), and `Link` to what to use instead.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils.http import http_date


@dataclass(frozen=True)
class Deprecation:
    """Since when an operation is not to be used by new clients, and when it goes. Dates as 2027-01-31."""

    since: str
    until: str
    #: address of the page that says what to use instead
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
