"""How this host talks to the broker: the Celery application, its one queue, JSON only.

Lives here: `make_app`, and `publish`, the one call that puts a sealed message on the portal's queue. What
a message makes the host do is `tasks` and below. Celery is only a doorbell: the journal is what survives,
so nothing is kept in the broker and nothing is retried there.
"""

from typing import Any

from celery import Celery
from kombu import Queue
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from worker import membership, transport
from worker.contract import QUEUE_REPORTS, queue_for
from worker.reporting import PortalAway
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


def publish(app: Celery, task: str, envelope: str) -> None:
    """Put a sealed message on the portal's queue, once. Raises PortalAway."""
    try:
        app.send_task(task, args=(envelope,), queue=QUEUE_REPORTS, retry=False, ignore_result=True)
    except (KombuError, RedisError, OSError) as error:
        raise PortalAway(str(error) or type(error).__name__) from error


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
        # One at a time, so that what is taken first is handed on first: a cancel stands before the orders.
        "worker_concurrency": 1,
        # The door hands an order on in milliseconds. With two at a time Kombu's plain loop would sleep for
        # two seconds after each pair; what is held here when the door dies is sent again by the portal.
        "worker_prefetch_multiplier": 32,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
    }
