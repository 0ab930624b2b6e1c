"""The portal's Celery application: sends wake-up messages to hosts, and runs periodic tasks.

Hosts' messages are read without Celery (`manage.py reports`). No results, no retries by Celery, early
acknowledgement: the job's row is authoritative.
"""

import os
from functools import partial
from logging.config import dictConfig
from typing import Any

from celery import Celery
from celery.apps import worker
from celery.signals import beat_init, celeryd_init, setup_logging, worker_init
from django.conf import settings

from webxen.core import checks, logs, transport
from worker import contract

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webxen.settings")


def install_transport() -> None:
    # beat's messages have an expiry
    transport.install(find_fault=partial(contract.find_fault, may_expire=True))


install_transport()
app = Celery("webxen")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["webxen.inbox"])


def _set_up_logging(**_signal: Any) -> None:
    """Replace Celery's logging set-up. Called at its very start too, because it warns before the set-up."""
    dictConfig(settings.LOGGING)
    logs.install()


# Celery prints shutdown messages directly to the screen
worker.safe_say = logs.say  # type: ignore[attr-defined]  # not in its stubs


def _look_at_broker(**_signal: Any) -> None:
    checks.refuse_open_broker()


celeryd_init.connect(_set_up_logging, weak=False)
setup_logging.connect(_set_up_logging, weak=False)
worker_init.connect(_look_at_broker, weak=False)
beat_init.connect(_look_at_broker, weak=False)
