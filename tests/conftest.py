"""What every test may lean on: the --lab switch. People live in tests/people.py.

Nothing here may import Django or webxen at the top: the worker's tests run where neither can be imported.
"""

import importlib.util

import pytest

#: People and things for tests of the portal; not there when the worker is tested without Django.
pytest_plugins = ["tests.people"] if importlib.util.find_spec("django") else []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lab", action="store_true", help="also run the tests that need the Xen lab")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--lab"):
        return
    without_lab = pytest.mark.skip(reason="needs the Xen lab: make lab-test")
    for item in items:
        if "lab" in item.keywords and item.get_closest_marker("lab"):
            item.add_marker(without_lab)
