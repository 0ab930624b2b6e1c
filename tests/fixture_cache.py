"""The world of the tests: made once, and lent to every test that asks for the same part of it.

Lives here: `shared`, which makes a fixture of what tests/fixtures.py knows how to make, and the transaction
that holds a made world open around several tests. Each test runs in a savepoint of its own inside it, and
gets its own copies of the objects: nothing a test does outlives it. Tests that commit make their own world.
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

#: name → how it is made, and what is needed for it; in the order in which a world is made
MAKERS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {}

#: the fixtures' functions: a test file may have a fixture of its own of the same name
OURS: set[Callable[..., Any]] = set()


def shared(make: Callable[..., Any]) -> Any:
    """A fixture that is made from rows alone, so that a test may find it made."""
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
    """What one test has of it; what is not there is made in the test's own savepoint."""

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
    """Which part of the world a test asks for, and the time at which it wants it made."""

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
    """The world that stands now, in a transaction that never commits."""

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
        # Django says of its own TestCase: a durable block inside of it is all right
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
        """A test may have lost the connection, and with it all that was not committed."""
        return self._atomic is None or (connection.connection is self._seat and not connection.needs_rollback)

    def clear(self) -> None:
        atomic, self._atomic = self._atomic, None
        self.part, self.things, self._seat = Part(()), {}, None
        if atomic is not None:
            connection.set_rollback(True)
            atomic.__exit__(None, None, None)


@pytest.fixture(scope="session")
def stage(django_db_setup: None, django_db_blocker: Any) -> Iterator[Stage]:
    # after each test that commits Django empties all tables and would fill in every permission again
    post_migrate.receivers.clear()
    post_migrate.sender_receivers_cache.clear()
    standing = Stage()
    yield standing
    with django_db_blocker.unblock():
        standing.clear()


@pytest.fixture
def staged(request: pytest.FixtureRequest, stage: Stage, django_db_blocker: Any) -> Stage:
    """The world a test asks for, standing before the test's own transaction begins."""
    mark = request.node.get_closest_marker("django_db")
    commits = {"transactional_db", "live_server"} & set(request.fixturenames)
    is_own = commits or (mark and mark.kwargs.get("transaction"))
    with django_db_blocker.unblock():
        stage.show(Part(()) if is_own else Part.wanted_by(request.node), request)
    return stage


@pytest.fixture
def own_world(request: pytest.FixtureRequest, staged: Stage) -> World:
    """This test's own copies."""
    return World(request, copy.deepcopy(staged.things))


@pytest.hookimpl(trylast=True)  # after pytest-randomly has shuffled them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file that want the same part of the world follow each other; what is slow is begun first."""
    groups: dict[tuple[Any, Part], list[pytest.Item]] = {}
    parts: dict[Any, list[Part]] = {}
    for item in items:
        part = Part.wanted_by(item)
        if (item.path, part) not in groups:
            parts.setdefault(item.path, []).append(part)
        groups.setdefault((item.path, part), []).append(item)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    # those of a folder together: they share a browser and a whole portal
    paths = sorted(parts, key=lambda path: (0, str(path.parent)) if path in slow else (1, ""))
    items[:] = [item for path in paths for part in parts[path] for item in groups[path, part]]


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    """What earlier tests have asked counts for nothing."""
    cache.clear()
