"""System check that the portal's signing key exists and is readable.

`manage.py check --deploy` runs it; the web server and the Celery processes log it when they start. They start
in any case: pages show the reports of hosts, and jobs wait until the key can be used.
"""

import logging
from typing import Any

from django.conf import settings
from django.core import checks

from webxen.core import portal_key

log = logging.getLogger(__name__)


@checks.register(checks.Tags.security, deploy=True)
def check_portal_key(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Django system check of the portal's signing key."""
    if why := portal_key.why_unusable(settings.WEBXEN_PORTAL_KEY_FILE):
        return [checks.Critical(why, id="webxen.E002")]
    return []


def log_portal_key() -> None:
    """Log an error if orders cannot be signed."""
    if why := portal_key.why_unusable(settings.WEBXEN_PORTAL_KEY_FILE):
        log.error("no order can be sent: %s", why)
