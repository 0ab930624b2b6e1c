"""The application that `celery -A worker.listener.celery_app worker` starts on a dom0.

Lives here: the one place where the environment is read for the Celery process and the listener is put
on. Importing this module needs WEBXEN_HOST and WEBXEN_BROKER_URL; nothing else may import it.
"""

import os

from worker import broker_check, settings
from worker.listener import broker, tasks

config = settings.read(os.environ)
broker_check.refuse_open_broker(config)
app = broker.make_app(config)
tasks.open_listener(app, config)
