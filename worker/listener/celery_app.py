"""The application that `celery -A worker.listener.celery_app worker` starts on a dom0.

Importing it reads the environment (WEBXEN_HOST, WEBXEN_BROKER_URL) and starts the listener, so no other
module may import it.
"""

import os

from worker import broker_check, settings
from worker.listener import broker, tasks

config = settings.read(os.environ)
broker_check.refuse_open_broker(config)
app = broker.make_app(config)
tasks.open_listener(app, config)
