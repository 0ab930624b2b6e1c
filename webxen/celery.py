"""The portal's Celery application: it sends doorbells to dom0s and hears their reports.

No results, no retries by Celery, early acknowledgement: the job's row is the truth.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_init

from webxen.core import checks, transport
from worker import contract

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webxen.settings")

transport.install()
app = Celery("webxen")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["webxen.jobs"])
app.conf.task_default_queue = contract.QUEUE_REPORTS


def _look_at_broker(**_signal: Any) -> None:
    checks.refuse_open_broker()


worker_init.connect(_look_at_broker, weak=False)
beat_init.connect(_look_at_broker, weak=False)
