"""The model bites: mistakes put into the product are noticed, and the product without them passes."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.history import History
from tests.model.mutants import MUTANTS, Mutant, sown
from tests.model.scenarios import SCENES, play
from tests.model.test_model import QUICK
from tests.model.test_positions import NEXT, go_through

HUNT = settings(QUICK, max_examples=15, stateful_step_count=40, derandomize=False)
#: swept in this order, every few positions
TRAILS = (
    ("START", "the portal gives up and somebody asks anew"),
    ("CREATE", "it starts again"),
    ("CREATE", "it is cancelled"),
    ("DELETE", "it starts again"),
    ("START", "the order comes once more after that"),
    ("CREATE", "the portal gives up and somebody deletes it"),
)
STRIDE = 5


@pytest.fixture(autouse=True)
def quietly() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def hunt(history: type[History]) -> str:
    """Look for a broken promise; what it was, "" when none was found."""
    try:
        for scene in SCENES:
            play(history(), scene)
        for verb, what in TRAILS:
            position = 1
            while go_through(history(), verb, position, NEXT[what]):
                position += STRIDE
        run_state_machine_as_test(seed(7)(type("Hunt", (history,), {})), settings=HUNT)
    except Exception as found:  # noqa: BLE001  any exception: a broken promise may also be a crash
        return f"{type(found).__name__}: {str(found)[:90]}"
    return ""


@pytest.mark.campaign
@pytest.mark.timeout(3600)
class TestTeeth:
    def test_the_product_as_it_is_keeps_its_promises(self, history: type[History]) -> None:
        assert hunt(history) == ""

    @pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
    def test_a_mistake_is_noticed(self, history: type[History], mutant: Mutant) -> None:
        with sown(mutant):
            found = hunt(history)
        assert found, f"{mutant.name}: nobody noticed"
        print(f"\n{mutant.name}: {found}")
