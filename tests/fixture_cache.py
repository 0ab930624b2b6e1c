"""Database fixtures that are created once and shared by tests that request the same set.

`shared` turns a function of tests/fixtures.py into such a fixture. The created rows stay in an open
transaction around several tests; each test runs in a savepoint inside it with its own copies of the objects,
so that its changes are rolled back. Tests that commit create their own rows.
"""

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models.signals import post_migrate

#: name → function and dependencies, in the order of creation
MAKERS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {}

#: the fixture functions: a test file may define its own fixture of the same name
OURS: set[Callable[..., Any]] = set()


def shared(make: Callable[..., Any]) -> Any:
    """Return a fixture that consists only of rows and can therefore be shared."""
    name = make.__name__
    known = MAKERS.get(name)
    if known and known[0].__module__ != make.__module__:
        raise ValueError(f"{name} is made in {known[0].__module__} already")
    MAKERS[name] = (make, tuple(inspect.signature(make).parameters))

    def find(request: pytest.FixtureRequest, db: None) -> Any:
        return request.getfixturevalue("own_world").take(name)

    find.__doc__ = make.__doc__
    OURS.add(find)
    return pytest.fixture(name=name)(find)


@dataclass
class World:
    """The fixtures of one test; missing ones are created in the test's savepoint."""

    request: pytest.FixtureRequest
    things: dict[str, Any] = field(default_factory=dict)

    def take(self, name: str) -> Any:
        if name not in MAKERS:
            return self.request.getfixturevalue(name)
        if name not in self.things:
            make, needs = MAKERS[name]
            self.things[name] = make(**{need: self.take(need) for need in needs})
        return self.things[name]


@dataclass(frozen=True)
class Part:
    """The set of fixtures that a test requests, and the time at which they are created."""

    names: tuple[str, ...]
    at: datetime | None = None

    @classmethod
    def wanted_by(cls, item: pytest.Item) -> "Part":
        from tests.fixtures import NOW

        fixtures = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
        asked = [name for name, known in fixtures.items() if known[-1].func in OURS]
        wanted: set[str] = set()
        while asked:
            name = asked.pop()
            if name not in wanted:
                wanted.add(name)
                asked += [need for need in MAKERS[name][1] if need in MAKERS]
        names = tuple(name for name in MAKERS if name in wanted)
        return cls(names, NOW if names and "at_noon" in fixtures else None)

    def make(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        world = World(request)
        with time_machine.travel(self.at) if self.at else contextlib.nullcontext():
            for name in self.names:
                world.take(name)
        return world.things


class Stage:
    """The present set of fixtures, in a transaction that never commits."""

    def __init__(self) -> None:
        self.part = Part(())
        self.things: dict[str, Any] = {}
        self._atomic: transaction.Atomic | None = None
        self._seat: Any = None

    def show(self, part: Part, request: pytest.FixtureRequest) -> None:
        if part == self.part and self._is_whole():
            return
        self.clear()
        if not part.names:
            return
        self._atomic = transaction.atomic()
        # as in Django's TestCase, durable blocks are allowed inside
        self._atomic._from_testcase = True
        self._atomic.__enter__()
        self._seat = connection.connection
        try:
            self.things = part.make(request)
        except BaseException:
            self.clear()
            raise
        self.part = part

    def _is_whole(self) -> bool:
        """Whether the transaction still exists: a test may have lost the connection."""
        return self._atomic is None or (connection.connection is self._seat and not connection.needs_rollback)

    def clear(self) -> None:
        atomic, self._atomic = self._atomic, None
        self.part, self.things, self._seat = Part(()), {}, None
        if atomic is not None:
            connection.set_rollback(True)
            atomic.__exit__(None, None, None)


@pytest.fixture(scope="session")
def stage(django_db_setup: None, django_db_blocker: Any) -> Iterator[Stage]:
    # after each test that commits, Django truncates all tables and would create all permissions again
    post_migrate.receivers.clear()
    post_migrate.sender_receivers_cache.clear()
    standing = Stage()
    yield standing
    with django_db_blocker.unblock():
        standing.clear()


@pytest.fixture
def staged(request: pytest.FixtureRequest, stage: Stage, django_db_blocker: Any) -> Stage:
    """Create the requested set of fixtures before the test's own transaction begins."""
    mark = request.node.get_closest_marker("django_db")
    commits = {"transactional_db", "live_server"} & set(request.fixturenames)
    is_own = commits or (mark and mark.kwargs.get("transaction"))
    with django_db_blocker.unblock():
        stage.show(Part(()) if is_own else Part.wanted_by(request.node), request)
    return stage


@pytest.fixture
def own_world(request: pytest.FixtureRequest, staged: Stage) -> World:
    """This test's copies of the fixtures."""
    return World(request, copy.deepcopy(staged.things))


@pytest.hookimpl(trylast=True)  # after pytest-randomly has shuffled them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order tests so that those of a file with the same set of fixtures are consecutive; slow ones first."""
    groups: dict[tuple[Any, Part], list[pytest.Item]] = {}
    parts: dict[Any, list[Part]] = {}
    for item in items:
        part = Part.wanted_by(item)
        if (item.path, part) not in groups:
            parts.setdefault(item.path, []).append(part)
        groups.setdefault((item.path, part), []).append(item)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    # tests of a folder stay together: they share a browser and a portal
    paths = sorted(parts, key=lambda path: (0, str(path.parent)) if path in slow else (1, ""))
    items[:] = [item for path in paths for part in parts[path] for item in groups[path, part]]


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    """Reset counters of rate limits before each test."""
    cache.clear()
