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


SCOPE = {"type": "http", "path": "/api/v1/jobs/", "query_string": b"wait=30", "headers": []}


class Sent(list):
    """What the client was told."""

    async def __call__(self, message):
        self.append(message)

    @property
    def status(self):
        return self[0]["status"]


def render(_scope, _error):
    return "text/plain", b""


def holding(view, waiting, receive=stays, sent=None, token=b"a token"):
    scope = {**SCOPE, "headers": [(b"authorization", token)]}
    app = with_held_reads(view, held=waiting, session_cookie="sessionid", render=render)
    return app(scope, receive, sent)


def held(*, most=100, most_per_person=5):
    return HeldReads(most=most, most_per_person=most_per_person)


class TestHeldRead:
    async def test_is_asked_again_when_what_it_waits_for_has_ended(self):
        things = Things()
        view = View(things.hold(1, "a"))
        asking = asyncio.create_task(holding(view, held(), stays))
        await wait_until(lambda: len(things.looks) > 2)
        assert not asking.done()
        things.ended.add("a")
        await asyncio.wait_for(asking, 20)
        assert view.asked == [None, "ended"]

    async def test_is_asked_again_when_the_time_is_up(self):
        view = View(Things().hold(1, "a", seconds=0.02))
        await asyncio.wait_for(holding(view, held(), stays), 20)
        assert view.asked == [None, "ended"]

    async def test_ends_when_the_client_has_gone(self):
        view, waiting = View(Things().hold(1, "a")), held(most_per_person=1)
        await asyncio.wait_for(holding(view, waiting, hangs_up), 20)
        assert view.asked == [None]
        assert waiting.has_room(view.hold)

    async def test_that_does_not_ask_to_be_held_is_not(self):
        view = View(None)
        await holding(view, held(), stays)
        assert view.asked == [None]


class TestManyHeldReads:
    async def test_take_one_thread_and_one_look(self):
        things, waiting = Things(), held()
        views = [View(things.hold(n, f"job {n}")) for n in range(50)]
        threads = threading.active_count()
        asking = [asyncio.create_task(holding(view, waiting, stays)) for view in views]
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
            asyncio.create_task(holding(View(things.hold(person, n)), waiting, stays))
            for n, person in enumerate(persons)
        ]
        await asyncio.sleep(0)
        one_more, sent = View(things.hold(1, "more")), Sent()
        await holding(one_more, waiting, sent=sent)
        assert (one_more.asked, sent.status) == ([None], 429)
        asking.pop().cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        things.ended.add("more")
        again = View(things.hold(1, "more"))
        await asyncio.wait_for(holding(again, waiting, stays), 20)
        assert again.asked == [None, "ended"]
        for task in asking:
            task.cancel()

    async def test_of_one_who_was_refused_are_refused_without_asking_while_there_is_no_room(self):
        things, waiting = Things(), held(most_per_person=1)
        view = View(things.hold(1, "a"))
        app = with_held_reads(view, held=waiting, session_cookie="sessionid", render=render)

        async def ask(token, query=b"wait=30"):
            scope, sent = {**SCOPE, "headers": [(b"authorization", token)], "query_string": query}, Sent()
            await app(scope, stays, sent)
            return sent

        first = asyncio.create_task(ask(b"a token"))
        await wait_until(lambda: view.asked)
        for _ in range(3):
            assert (await ask(b"a token")).status == 429
        assert len(view.asked) == 2
        # another token of the person is looked up once; a read that does not wait is answered
        assert (await ask(b"another")).status == 429
        view.hold = None
        assert await ask(b"a token", b"") == []
        assert len(view.asked) == 4
        things.ended.add("a")
        await asyncio.wait_for(first, 20)
        asked = len(view.asked)
        assert await ask(b"a token") == []  # there is room again
        assert len(view.asked) == asked + 1

    async def test_go_on_when_the_database_does_not_answer_for_a_while(self):
        from django.db import OperationalError

        things, failures = Things(), iter([OperationalError("away"), OperationalError("away")])

        def still_open(keys):
            if failure := next(failures, None):
                raise failure
            return things.still_open(keys)

        view = View(Hold(1, "a", 30.0, still_open))
        asking = asyncio.create_task(holding(view, held(), stays))
        await wait_until(lambda: things.looks)
        things.ended.add("a")
        await asyncio.wait_for(asking, 20)
        assert view.asked == [None, "ended"]


class TestWord:
    def test_of_a_request_that_has_waited_cannot_be_sent_by_a_client(self):
        assert not has_waited({"HTTP_WEBXEN.WAITED": "ended", "HTTP_WEBXEN_WAITED": "ended"})
        assert has_waited({WAITED: "ended"})
