"""Settings of Python's garbage collector for both test configurations.

Imported modules and collected tests live until the end; without freezing them, the collector would scan them
repeatedly.
"""

import gc

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # xdist's controller only distributes tests; it collects none and would leave the collector disabled
    if config.getoption("dist", "no") == "no":
        gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.collect()
    gc.freeze()
    gc.enable()
