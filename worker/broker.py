"""How this host talks to the broker: the Celery application, its one queue, JSON only.

Lives here: `make_app`. What a message makes the host do is `tasks` and below. Celery is only a
doorbell: the journal is what survives, so nothing is kept in the broker and nothing is retried there.
"""

from typing import Any

from celery import Celery
from kombu import Queue

from worker import membership, transport
from worker.contract import queue_for
from worker.settings import Settings

#: An unacknowledged message is delivered again after this long. Orders are acknowledged as soon as
#: they are taken, so this only concerns what waits behind a busy worker; it is longer than any job.
VISIBILITY_SECONDS = 6 * 3600


def make_app(config: Settings) -> Celery:
    """The application for one host. `fixups=[]` keeps Celery from importing Django."""
    transport.install()
    app = Celery("worker", fixups=[], set_as_current=False)
    app.conf.update(_options(config))
    return app


def _options(config: Settings) -> dict[str, Any]:
    queue = queue_for(config.host)
    return {
        # Kombu's word for what redis-py calls unix://
        "broker_url": config.broker_url.replace("unix://", "redis+socket://", 1),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_SECONDS,
            **membership.unacked_keys(config.host),
            # The broker answers "nothing yet" this often; each answer costs a slow dom0 a tenth of a second.
            "polling_interval": 10,
            # redis-py 8 sets 5 s by itself, which would end every such wait with an error.
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_default_queue": queue,
        "task_queues": [Queue(queue)],
        "worker_pool": "threads",
        "worker_concurrency": 2,
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
    }
