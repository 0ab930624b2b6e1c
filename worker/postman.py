"""Messages to the portal: sealed with the host's key and put on the portal's queue.

Lives here: the one call to Celery that sends. When and what is sent belongs to `reporting` and
`observe`.
"""

import time
from collections.abc import Callable

from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from worker.contract import QUEUE_REPORTS, TASK_REPORT, Message, seal
from worker.reporting import PortalAway

#: How long a message may travel. The portal drops older ones; ends are sealed anew when sent again.
LIFE_SECONDS = 24 * 3600


class Postman:
    def __init__(self, app: Celery, *, host: str, sign: Callable[[bytes], bytes]) -> None:
        self._app = app
        self._host = host
        self._sign = sign

    def send(self, message: Message, *, task: str = TASK_REPORT) -> None:
        """Send once, without waiting for an answer. Raises PortalAway."""
        not_after = int(time.time()) + LIFE_SECONDS
        envelope = seal(message, host=self._host, sign=self._sign, not_after=not_after)
        try:
            self._app.send_task(task, args=(envelope,), queue=QUEUE_REPORTS, retry=False, ignore_result=True)
        except (KombuError, RedisError, OSError) as error:
            raise PortalAway(str(error) or type(error).__name__) from error
