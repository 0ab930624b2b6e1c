"""The host's connection to the broker: the Celery application, its one queue, and publishing.

`publish` puts a sealed message on the host's own queue to the portal. Messages from the portal are handled in
`worker.listener.tasks`. A message is only a wake-up and the journal is the durable state, so nothing is
stored or retried in the broker.
"""

from typing import Any

from celery import Celery
from kombu import Queue
from kombu.exceptions import KombuError
from redis.exceptions import NoPermissionError, RedisError

from worker.contract import (
    QUEUE_REPORTS,
    TASK_OBSERVATION,
    observation_queue_for,
    queue_for,
    report_queue_for,
)
from worker.ipc.errors import PortalAway
from worker.listener import queues
from worker.settings import Settings

#: how long one BRPOP waits; each reply without a message costs a slow dom0 a tenth of a second
POLLING_SECONDS = 10


def make_app(config: Settings) -> Celery:
    """The Celery application for one host. `fixups=[]` keeps Celery from importing Django."""
    queues.install()
    app = Celery("worker", fixups=[], set_as_current=False)
    app.conf.update(_options(config))
    return app


def publish(app: Celery, host: str, task: str, envelope: str) -> None:
    """Put a sealed message on the host's queue to the portal. Does not retry. Raises PortalAway."""
    own = observation_queue_for(host) if task == TASK_OBSERVATION else report_queue_for(host)
    try:
        _send(app, task, envelope, own)
    except (KombuError, RedisError, OSError) as error:
        if not _is_forbidden(error):
            raise PortalAway(str(error) or type(error).__name__) from error
        _send_as_before(app, task, envelope)


def _send_as_before(app: Celery, task: str, envelope: str) -> None:
    """Use the queue shared by all hosts: the broker account was made by an older portal.

    Raises PortalAway.
    """
    try:
        _send(app, task, envelope, QUEUE_REPORTS)
    except (KombuError, RedisError, OSError) as error:
        raise PortalAway(str(error) or type(error).__name__) from error


def _send(app: Celery, task: str, envelope: str, queue: str) -> None:
    app.send_task(task, args=(envelope,), queue=queue, retry=False, ignore_result=True)


def _is_forbidden(error: BaseException) -> bool:
    # Celery raises one of Kombu's errors from Redis's error
    return isinstance(error, NoPermissionError) or isinstance(error.__cause__, NoPermissionError)


def _options(config: Settings) -> dict[str, Any]:
    queue = queue_for(config.host)
    return {
        # redis-py accepts unix://, Kombu calls it redis+socket://
        "broker_url": config.broker_url.replace("unix://", "redis+socket://", 1),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Retry whatever error Redis returns: busy, out of memory, read-only, loading, refused.
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            "polling_interval": POLLING_SECONDS,
            # redis-py 8 defaults to 5 s, which would end each BRPOP with an error
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
        # One at a time, so that messages are passed on in the order of the queue, in which a cancel may be
        # ahead of orders.
        "worker_concurrency": 1,
        # The listener passes an order on in milliseconds. With a prefetch of two, Kombu's plain loop would
        # sleep two seconds after each pair. The portal sends again what is prefetched when the listener dies.
        "worker_prefetch_multiplier": 32,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
    }
