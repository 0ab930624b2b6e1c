"""No history of faults makes a machine run twice, loses a disk, spends a quota twice or hangs a job."""

import time
from collections.abc import Iterator

import pytest
import time_machine
from django.conf import settings as django_settings
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.history import History
from tests.model.plant import Clock
from tests.people import NOW, Mailbox
from webxen.jobs import signing

QUICK = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


@pytest.fixture
def history(db: None, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[History]]:
    """The state machine on a clock that passes only when somebody sleeps."""
    with time_machine.travel(NOW, tick=False) as traveller:
        clock = Clock(traveller.shift)
        monkeypatch.setattr(time, "sleep", clock.sleep)
        monkeypatch.setattr(time, "monotonic", clock.monotonic)
        public = signing.public_pem(django_settings.WEBXEN_PORTAL_KEY_FILE).encode()
        yield type("History", (History,), {"clock": clock, "mailbox": mailbox, "portal_public": public})


class TestHistories:
    def test_keep_every_promise(self, history: type[History]) -> None:
        run_state_machine_as_test(history, settings=QUICK)
