"""Each scene comes out as it says."""

from collections.abc import Callable

import pytest

from tests.model.history import History
from tests.model.scenarios import SCENES, play


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_comes_out_as_it_says(history: type[History], scene: Callable[[History], None]) -> None:
    play(history(), scene)
