"""Reads that are held open: on the event loop, so many at a time, and ended when nobody waits any more."""

import asyncio
import threading

import pytest

from webxen.core import held_reads
from webxen.core.held_reads import (
    HOLD,
    WAITED,
    HeldReads,
    Hold,
    TooManyHeldError,
    has_waited,
    with_held_reads,
)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch, transactional_db):
    monkeypatch.setattr(held_reads, "LOOK_SECONDS", 0.01)


class Things:
    """What is waited for; notes every look and its thread."""

    def __init__(self):
        self.ended, self.looks, self.threads = set(), [], set()

    def still_open(self, keys):
        self.looks.append(set(keys))
        self.threads.add(threading.current_thread().name)
        return set(keys) - self.ended

    def hold(self, person, key, seconds=30.0):
        return Hold(person, key, seconds, self.still_open)


class View:
    """What stands behind: asks to be held once, and notes how it was asked."""

    def __init__(self, hold):
        self.hold, self.asked = hold, []

    async def __call__(self, scope, receive, send):
        self.asked.append(scope.get(WAITED))
        if WAITED not in scope:
            scope[HOLD] = self.hold


async def stays():
    await asyncio.sleep(60)


async def hangs_up():
    return {"type": "http.disconnect"}


async def wait_until(look):
    async with asyncio.timeout(20):
        while not look():  # noqa: ASYNC110 - anything may be waited for
            await asyncio.sleep(0.001)


def held(*, most=100, most_per_person=5):
    return HeldReads(most=most, most_per_person=most_per_person)


class TestHeldRead:
    async def test_is_asked_again_when_what_it_waits_for_has_ended(self):
        things = Things()
        view = View(things.hold(1, "a"))
        asking = asyncio.create_task(with_held_reads(view, held=held())({}, stays, None))
        await wait_until(lambda: len(things.looks) > 2)
        assert not asking.done()
        things.ended.add("a")
        await asyncio.wait_for(asking, 20)
        assert view.asked == [None, "ended"]

    async def test_is_asked_again_when_the_time_is_up(self):
        view = View(Things().hold(1, "a", seconds=0.02))
        await asyncio.wait_for(with_held_reads(view, held=held())({}, stays, None), 20)
        assert view.asked == [None, "ended"]

    async def test_ends_when_the_client_has_gone(self):
        view, waiting = View(Things().hold(1, "a")), held(most_per_person=1)
        await asyncio.wait_for(with_held_reads(view, held=waiting)({}, hangs_up, None), 20)
        assert view.asked == [None]
        assert waiting.has_room(view.hold)

    async def test_that_does_not_ask_to_be_held_is_not(self):
        view = View(None)
        await with_held_reads(view, held=held())({}, stays, None)
        assert view.asked == [None]


class TestManyHeldReads:
    async def test_take_one_thread_and_one_look(self):
        things, waiting = Things(), held()
        views = [View(things.hold(n, f"job {n}")) for n in range(50)]
        threads = threading.active_count()
        asking = [asyncio.create_task(with_held_reads(view, held=waiting)({}, stays, None)) for view in views]
        await wait_until(lambda: any(len(look) == 50 for look in things.looks))
        assert threading.active_count() <= threads + 1
        assert len(things.threads) == 1
        things.ended.update(f"job {n}" for n in range(50))
        await asyncio.wait_for(asyncio.gather(*asking), 20)
        looked = len(things.looks)
        await asyncio.sleep(0.05)
        assert len(things.looks) == looked  # nobody waits, nobody looks

    @pytest.mark.parametrize(
        ("limits", "persons"), [({"most_per_person": 3}, [1, 1, 1]), ({"most": 3}, [2, 3, 4])]
    )
    async def test_have_a_limit_a_person_and_in_all(self, limits, persons):
        things, waiting = Things(), held(**limits)
        asking = [
            asyncio.create_task(with_held_reads(View(things.hold(person, n)), held=waiting)({}, stays, None))
            for n, person in enumerate(persons)
        ]
        await asyncio.sleep(0)
        one_more = View(things.hold(1, "more"))
        await with_held_reads(one_more, held=waiting)({}, stays, None)
        assert one_more.asked == [None, "refused"]
        asking.pop().cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        things.ended.add("more")
        again = View(things.hold(1, "more"))
        await asyncio.wait_for(with_held_reads(again, held=waiting)({}, stays, None), 20)
        assert again.asked == [None, "ended"]
        for task in asking:
            task.cancel()

    async def test_go_on_when_the_database_does_not_answer_for_a_while(self):
        from django.db import OperationalError

        things, failures = Things(), iter([OperationalError("away"), OperationalError("away")])

        def still_open(keys):
            if failure := next(failures, None):
                raise failure
            return things.still_open(keys)

        view = View(Hold(1, "a", 30.0, still_open))
        asking = asyncio.create_task(with_held_reads(view, held=held())({}, stays, None))
        await wait_until(lambda: things.looks)
        things.ended.add("a")
        await asyncio.wait_for(asking, 20)
        assert view.asked == [None, "ended"]


class TestWord:
    def test_of_a_request_that_has_waited_cannot_be_sent_by_a_client(self):
        assert not has_waited({"HTTP_WEBXEN.WAITED": "ended", "HTTP_WEBXEN_WAITED": "ended"})
        assert has_waited({WAITED: "ended"})
        with pytest.raises(TooManyHeldError):
            has_waited({WAITED: "refused"})
