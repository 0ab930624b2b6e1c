"""How a host's name stands in addresses: with dots, and in capitals if somebody types it so.

Registered where it is imported: routes of the pages and of the API may each be read first.
"""

from django.urls import register_converter


class HostName:
    """One part of a path, in lower case. Whether there is such a host its reader finds out."""

    regex = "[A-Za-z0-9][A-Za-z0-9._-]*"

    def to_python(self, value: str) -> str:
        return value.lower()

    def to_url(self, value: str) -> str:
        return value


register_converter(HostName, "host")
