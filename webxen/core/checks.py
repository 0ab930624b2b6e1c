"""What must be true before the portal works: the broker is closed to strangers.

The web server and the Celery processes ask at their start; `manage.py check --deploy` asks as well.
"""

from typing import Any

from django.conf import settings
from django.core import checks

from worker.contract import broker_policy


def refuse_open_broker() -> None:
    """Ends the process, with one sentence and no traceback."""
    try:
        _look()
    except broker_policy.BrokerOpen as error:
        raise SystemExit(f"WebXen does not start: {error}") from None


@checks.register(checks.Tags.security, deploy=True)
def check_broker(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
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
