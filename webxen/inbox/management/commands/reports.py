"""manage.py reports: receive hosts' messages until it is stopped. One such process per portal.

SIGTERM and SIGINT end it after the current message.
"""

import logging
import signal
from typing import Any

from django.core.management.base import BaseCommand

from webxen.core import checks, logs
from webxen.inbox import reader as inbox_reader
from webxen.inbox import tasks

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Hear what the hosts report, until it is stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        logs.install()
        checks.refuse_open_broker()
        reader = inbox_reader.reader(tasks.receive, tasks.note_flood)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: reader.stop())
        log.info("hosts are heard")
        reader.run()
