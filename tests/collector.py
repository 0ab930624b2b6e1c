"""Python's garbage collector, told what will stay: hooks that both configurations of the tests take in.

What is imported and collected before the first test lives until the last one. Left alone, the collector would
go through all of it again and again.
"""

import gc

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # one that only hands tests out collects none, and would leave it off
    if config.getoption("dist", "no") == "no":
        gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.collect()
    gc.freeze()
    gc.enable()
