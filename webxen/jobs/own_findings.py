"""What `verify` finds in the portal itself, without comparing it with a host. Reads; writes nothing."""

from collections.abc import Iterator

from django.conf import settings

from webxen.jobs import signing
from webxen.jobs.findings import Finding


def find() -> Iterator[Finding]:
    """Everything of the portal's own that keeps it from doing its work."""
    yield from _portal_key()


def _portal_key() -> Iterator[Finding]:
    path = settings.WEBXEN_PORTAL_KEY_FILE
    if signing.why_unusable(path):
        yield Finding("PORTAL_KEY_UNUSABLE", f"The signing key {path} cannot be used: no order can be sent.")
