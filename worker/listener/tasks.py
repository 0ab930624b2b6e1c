"""The listener's Celery task `worker.obey`, and the forwarding of the agent's messages to the broker.

It passes each envelope to the agent unchanged, and the agent's sealed messages to the broker. It runs without
root, cannot read the host's key, verifies no signature, and does not trust Celery's task names or headers.
"""

import logging
import threading
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_ready, worker_shutting_down

from worker import core_dumps
from worker.contract import TASK_OBEY, TASK_OBSERVATION, TASK_REPORT
from worker.ipc import local_socket
from worker.ipc.errors import PortalAway
from worker.ipc.local_socket import AgentUnavailable, BadFrame, Word
from worker.listener import broker
from worker.settings import Settings

logger = logging.getLogger(__name__)

#: how long an order waits for an agent that is restarting
TIMEOUT_SECONDS = 10.0
REST_SECONDS = 0.5


class MessageForwarder:
    """A thread that forwards the agent's messages to the broker until it is stopped."""

    def __init__(self, app: Celery, config: Settings) -> None:
        self._app, self._host = app, config.host
        self._path = config.agent_socket
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="carrier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        said = ""
        while not self._stopped.is_set():
            try:
                local_socket.fetch(self._path, self._publish, is_over=self._stopped.is_set)
            except (AgentUnavailable, BadFrame) as error:
                if str(error) != said:
                    logger.warning("the agent is away: %s", error)
                said = str(error)
            except Exception:  # the top of the thread: it must keep forwarding
                logger.exception("a message could not be carried")
            self._stopped.wait(REST_SECONDS)

    def _publish(self, word: Word, envelope: str) -> bool:
        task = TASK_OBSERVATION if word is Word.OBSERVATION else TASK_REPORT
        try:
            broker.publish(self._app, self._host, task, envelope)
        except PortalAway as error:
            logger.warning("a message was not sent: %s", error)
            return False
        return True


def open_listener(app: Celery, config: Settings) -> None:
    """Register the one task, remove Celery's own, and start forwarding when Celery is ready."""
    core_dumps.forbid()
    carrier = MessageForwarder(app, config)
    is_closing = threading.Event()

    def obey(*untrusted: object, **_untrusted: object) -> None:
        hand_in(config.agent_socket, untrusted[0] if len(untrusted) == 1 else None, is_closing=is_closing)

    app.task(name=TASK_OBEY, ignore_result=True)(obey)
    app.finalize()
    # celery.chain, celery.starmap and others would let a message start more tasks.
    for name in [name for name in app.tasks if name != TASK_OBEY]:
        app.tasks.unregister(name)

    def begin(**_signal: Any) -> None:
        logger.info("%s is ready for orders", config.host)
        carrier.start()

    def end(**_signal: Any) -> None:
        is_closing.set()
        carrier.stop()

    worker_ready.connect(begin, weak=False)
    worker_shutting_down.connect(end, weak=False)


def hand_in(agent_socket: Path, untrusted_envelope: object, *, is_closing: threading.Event) -> None:
    """Submit an envelope to the agent. One that cannot be submitted is dropped; the portal sends it again."""
    if not isinstance(untrusted_envelope, str):
        logger.warning("dropped an order: it is no envelope")
        return
    for _ in range(int(TIMEOUT_SECONDS / REST_SECONDS)):
        try:
            answer = local_socket.hand_in(agent_socket, untrusted_envelope)
        except BadFrame as error:
            logger.warning("dropped an order: %s", error)
            return
        except AgentUnavailable as error:
            if is_closing.wait(REST_SECONDS):
                break
            logger.debug("the agent is away: %s", error)
            continue
        if answer is not Word.TAKEN:
            logger.warning("the agent says %s to an order", answer.name)
        return
    logger.warning("dropped an order: the agent is away; the portal sends it again")
