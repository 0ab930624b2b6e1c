"""Refuse to start when the broker is open to anybody.

A module of its own because the agent imports `worker.settings` and must not depend on network code.
"""

from worker.contract import broker_policy
from worker.settings import Settings


def refuse_open_broker(config: Settings) -> None:
    """Check the broker URL. Raises SystemExit with one sentence when the broker is open to anybody."""
    try:
        broker_policy.check(
            config.broker_url, open_words=config.open_broker_words, plain_words=config.plain_broker_words
        )
    except broker_policy.BrokerOpen as error:
        raise SystemExit(f"webxen-worker does not start: {error}") from None
