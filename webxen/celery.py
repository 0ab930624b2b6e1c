"""The portal's Celery application: it sends doorbells to dom0s and hears their reports.

No results, no retries by Celery, early acknowledgement: the job's row is the truth.
"""

import os

from celery import Celery

from webxen.core import transport
from worker import contract

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webxen.settings")

transport.install()
app = Celery("webxen")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["webxen.jobs"])
app.conf.task_default_queue = contract.QUEUE_REPORTS
