"""What must be true before orders can be sent: the portal's key is there and this account can read it.

`manage.py check --deploy` asks, and the web server and the Celery processes log it at their start. They start
all the same: pages show what hosts say, and jobs wait until the key is there.
"""

import logging
from typing import Any

from django.conf import settings
from django.core import checks

from webxen.core import portal_key

log = logging.getLogger(__name__)


@checks.register(checks.Tags.security, deploy=True)
def check_portal_key(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    if why := portal_key.why_unusable(settings.WEBXEN_PORTAL_KEY_FILE):
        return [checks.Critical(why, id="webxen.E002")]
    return []


def log_portal_key() -> None:
    """One line in the log where no order can be sent."""
    if why := portal_key.why_unusable(settings.WEBXEN_PORTAL_KEY_FILE):
        log.error("no order can be sent: %s", why)
