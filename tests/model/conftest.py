"""Fixtures of the model: a database, a broker in memory, and a simulated clock."""

import time
from collections.abc import Iterator

import pytest
import time_machine
from django.conf import settings as django_settings

from tests.fixtures import NOW, Mailbox
from tests.model.history import History
from tests.model.portal import Portal
from tests.model.simulated_hosts import Clock
from webxen.core import portal_key
from worker.identity import keys


@pytest.fixture
def history(db: None, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[History]]:
    """Run the state machine with a clock that advances only while code sleeps."""
    made = {name: keys.generate() for name in ("xen1", "xen2")}
    with time_machine.travel(NOW, tick=False) as frozen:
        clock = Clock(frozen.shift)
        monkeypatch.setattr(time, "sleep", clock.sleep)
        monkeypatch.setattr(time, "monotonic", clock.monotonic)
        things = {
            "clock": clock,
            "portal": Portal(mailbox, {name: public for name, (_, public) in made.items()}),
            "host_keys": {name: private for name, (private, _) in made.items()},
            "portal_public": portal_key.public_pem(django_settings.WEBXEN_PORTAL_KEY_FILE).encode(),
        }
        yield type("Histories", (History,), things)
