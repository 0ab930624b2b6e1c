"""A process that talks to the broker asks first whether strangers could too. Nothing else lives here.

Apart from `settings`, because the agent reads those and knows no network.
"""

from worker.contract import broker_policy
from worker.settings import Settings


def refuse_open_broker(config: Settings) -> None:
    """Ends the process, with one sentence and no traceback, before it trusts a broker open to anybody."""
    try:
        broker_policy.check(
            config.broker_url, open_words=config.open_broker_words, plain_words=config.plain_broker_words
        )
    except broker_policy.BrokerOpen as error:
        raise SystemExit(f"webxen-worker does not start: {error}") from None
