"""Options of all tests: --lab, --model and --database. The fixtures are in tests/fixtures.py.

The worker's tests have their own configuration without Django and do not read this file.
"""

import importlib.util

import pytest

from tests.collector import pytest_collection_finish, pytest_configure

__all__ = ["pytest_collection_finish", "pytest_configure"]

#: alice, bob, charlie and dana, xen1 and xen2
pytest_plugins = (
    ["tests.fixture_cache", "tests.fixtures", "tests.moves"]
    if importlib.util.find_spec("tests.fixtures")
    else []
)


@pytest.fixture
def _django_db_helper(staged: object, _django_db_helper: None) -> None:
    """Override pytest-django's fixture that begins a test's transaction; the shared fixtures surround it
    (tests/fixture_cache.py).
    """


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lab", action="store_true", help="also run the tests that need the Xen lab")
    parser.addoption("--database", action="store_true", help="only the tests that touch a database")
    parser.addoption("--model", action="store_true", help="long campaigns: minutes where there were seconds")


def _touches_a_database(item: pytest.Item) -> bool:
    asked = set(getattr(item, "fixturenames", ()))
    return bool(item.get_closest_marker("django_db") or asked & {"db", "transactional_db"})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--database"):
        config.hook.pytest_deselected(items=[item for item in items if not _touches_a_database(item)])
        items[:] = [item for item in items if _touches_a_database(item)]
    if not config.getoption("--model"):
        short = pytest.mark.skip(reason="a long campaign: make model")
        for item in items:
            if item.get_closest_marker("campaign"):
                item.add_marker(short)
    if config.getoption("--lab"):
        return
    without_lab = pytest.mark.skip(reason="needs the Xen lab: make lab-test")
    for item in items:
        if "lab" in item.keywords and item.get_closest_marker("lab"):
            item.add_marker(without_lab)
