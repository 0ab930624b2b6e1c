"""No history of faults makes a machine run twice, loses a disk, spends a quota twice or hangs a job."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.history import History

QUICK = settings(
    max_examples=3,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
LONG = settings(
    QUICK, max_examples=300, stateful_step_count=50, derandomize=False, phases=[Phase.generate, Phase.shrink]
)


class TestHistories:
    def test_keep_every_promise(self, history: type[History]) -> None:
        run_state_machine_as_test(history, settings=QUICK)

    @pytest.mark.campaign
    @pytest.mark.timeout(3600)
    def test_keep_every_promise_for_long(self, history: type[History]) -> None:
        run_state_machine_as_test(history, settings=LONG)
