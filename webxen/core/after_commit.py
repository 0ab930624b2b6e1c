"""Work that happens once a transaction has committed, and whose failure changes nothing about it.

Lives here: the only call of Django's `on_commit`. The request has been done by then, so whatever this work
raises is logged and not answered; whoever registers it has another way to do it later.
"""

import logging
from collections.abc import Callable

from django.db import transaction

log = logging.getLogger(__name__)


def run(act: Callable[[], object], *, about: str) -> None:
    """Call `act` after the outermost transaction has committed, or now outside of one; never raises.

    `about` names in the log what was being done.
    """

    def act_and_log() -> None:
        try:
            act()
        except Exception:  # the transaction is committed: an error here must not turn its answer into a 500
            log.exception("%s: failed after the commit", about)

    # a plain function: Django names it in its own log, which a functools.partial cannot be
    transaction.on_commit(act_and_log, robust=True)
