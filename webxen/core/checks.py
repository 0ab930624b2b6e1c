"""System check that the broker cannot be used without authentication.

The web server and the Celery processes run it when they start; `manage.py check --deploy` runs it too.
"""

from typing import Any

from django.conf import settings
from django.core import checks

from worker.contract import broker_policy


def refuse_open_broker() -> None:
    """Exit with one sentence and no traceback if the broker is open. Raises SystemExit."""
    try:
        _look()
    except broker_policy.BrokerOpen as error:
        raise SystemExit(f"WebXen does not start: {error}") from None


@checks.register(checks.Tags.security, deploy=True)
def check_broker(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Django system check of the broker's access control."""
    try:
        _look()
    except broker_policy.BrokerOpen as error:
        return [checks.Critical(str(error), id="webxen.E001")]
    return []


def _look() -> None:
    broker_policy.check(
        settings.WEBXEN_REDIS_URL,
        open_words=settings.WEBXEN_ALLOW_OPEN_BROKER,
        plain_words=settings.WEBXEN_ALLOW_PLAIN_BROKER,
    )
