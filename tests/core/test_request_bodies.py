"""Bodies are counted, timed and read whole before anything else is done for a request."""

import asyncio
import json

import pytest

from webxen.asgi import render
from webxen.core.request_bodies import BODY, Bodies, with_bodies

MOST = 1000


class Door:
    """What stands behind: notes the bodies that came in."""

    def __init__(self):
        self.bodies = []

    async def __call__(self, scope, receive, send):
        self.bodies.append(scope[BODY])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})


def piece(body, *, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


async def knock(app, pieces, *, path="/accounts/login/", headers=(), method="POST"):
    """One request whose body comes in these pieces, and then no more; (status, headers, body)."""
    coming, said = iter(pieces), []

    async def receive():
        item = next(coming, None)
        if item is None:
            await asyncio.sleep(60)
        return item

    async def send(message):
        said.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    await app(scope, receive, send)
    if not said:
        return None, {}, b""
    body = b"".join(part.get("body", b"") for part in said[1:])
    return said[0]["status"], dict(said[0]["headers"]), body


def guarded(door, **more):
    limits = {"most_bytes": MOST, "most_bytes_of_strangers": MOST, "seconds": 10, **more}
    bodies = Bodies(**limits, session_cookie="sessionid")
    return with_bodies(door, bodies=bodies, render=render), bodies


def one(pieces, *, limits=None, **request):
    door = Door()
    app, bodies = guarded(door, **(limits or {}))
    answer = asyncio.run(knock(app, pieces, **request))
    assert bodies.kept_bytes == 0
    return answer, door.bodies


class TestSize:
    def test_a_body_as_large_as_it_may_be_comes_in_whole(self):
        answer, bodies = one([piece(b"x" * 600), piece(b"y" * 400, more=False)])
        assert answer[0] == 200
        assert bodies == [b"x" * 600 + b"y" * 400]

    @pytest.mark.parametrize("length", [b"1001", b"629145600", b"9" * 5000])
    def test_a_declared_length_that_is_too_large_is_refused_before_a_byte_is_read(self, length):
        answer, bodies = one([], headers=[(b"content-length", length), (b"expect", b"100-continue")])
        assert (answer[0], answer[1][b"connection"], bodies) == (413, b"close", [])

    @pytest.mark.parametrize(
        "headers", [(), [(b"content-length", b"5")], [(b"transfer-encoding", b"chunked")]]
    )
    def test_what_comes_is_counted_whatever_was_declared(self, headers):
        answer, bodies = one([piece(b"x" * 600)] * 1000, headers=headers)
        assert (answer[0], bodies) == (413, [])

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PATCH", "BREW"])
    def test_of_every_method(self, method):
        answer, bodies = one([piece(b"x" * 600)] * 2, method=method)
        assert (answer[0], bodies) == (413, [])

    @pytest.mark.parametrize("declared", [[(b"content-length", b"600")], []])
    @pytest.mark.parametrize(
        ("credential", "status"),
        [
            ([], 413),
            ([(b"cookie", b"other=1")], 413),
            ([(b"cookie", b"other=1; sessionid=abc")], 200),
            ([(b"authorization", b"Bearer wx_abc")], 200),
        ],
    )
    def test_is_smaller_without_a_token_or_a_session(self, declared, credential, status):
        limits = {"most_bytes_of_strangers": 500}
        answer, _ = one([piece(b"x" * 600, more=False)], limits=limits, headers=[*declared, *credential])
        assert answer[0] == status


class TestLargeBody:
    def test_a_little_too_large_is_read_so_that_its_sender_reads_the_answer(self):
        read = []

        def pieces():
            for n in range(4):
                read.append(n)
                yield piece(b"x" * 600, more=n < 3)

        answer, _ = one(pieces(), headers=[(b"content-length", b"2400")])
        assert (answer[0], read) == (413, [0, 1, 2, 3])
        read.clear()
        answer, _ = one(pieces(), headers=[(b"content-length", b"629145600")])
        assert (answer[0], read) == (413, [])


class TestTime:
    def test_a_body_that_does_not_end_is_refused(self):
        answer, bodies = one([piece(b"x")], limits={"seconds": 0.01})
        assert (answer[0], answer[1][b"connection"], bodies) == (408, b"close", [])

    def test_who_hangs_up_before_the_end_asked_for_nothing(self):
        answer, bodies = one([piece(b"x"), {"type": "http.disconnect"}])
        assert (answer[0], bodies) == (None, [])


class TestAllTogether:
    def test_the_body_that_has_been_on_its_way_the_longest_is_given_up(self):
        door = Door()
        app, bodies = guarded(door, most_together_bytes=1500)

        async def run():
            slow = [asyncio.create_task(knock(app, [piece(b"s" * 700)])) for _ in range(2)]
            await asyncio.sleep(0)
            quick = await knock(app, [piece(b"q" * 700, more=False)])
            first = await asyncio.wait_for(slow[0], 10)
            assert not slow[1].done()
            slow[1].cancel()
            return quick[0], first[0]

        assert asyncio.run(run()) == (200, 408)
        assert door.bodies == [b"q" * 700]
        assert bodies.kept_bytes == 0

    def test_where_only_answers_are_waited_for_a_new_one_is_told_to_come_again(self):
        gate = asyncio.Event()

        async def waits(scope, receive, send):
            await gate.wait()

        app, bodies = guarded(waits, most_together_bytes=1500)

        async def run():
            inside = [asyncio.create_task(knock(app, [piece(b"x" * 700, more=False)])) for _ in range(2)]
            await asyncio.sleep(0)
            status, headers, _body = await knock(app, [piece(b"x" * 700, more=False)])
            gate.set()
            await asyncio.gather(*inside)
            return status, headers[b"retry-after"]

        assert asyncio.run(run()) == (503, b"5")
        assert bodies.kept_bytes == 0

    def test_a_hundred_slow_bodies_keep_nobody_out(self):
        door = Door()
        app, _bodies = guarded(door)

        async def run():
            slow = [asyncio.create_task(knock(app, [piece(b"s")])) for _ in range(100)]
            await asyncio.sleep(0)
            answer = await knock(app, [piece(b"q", more=False)])
            for task in slow:
                task.cancel()
            return answer

        assert asyncio.run(run())[0] == 200


class TestWords:
    def test_scripts_read_a_problem(self):
        (_status, headers, body), _ = one([piece(b"x" * 1001)], path="/api/v1/tokens/")
        said = json.loads(body)
        assert headers[b"content-type"] == b"application/problem+json"
        assert (said["status"], said["code"], said["title"]) == (413, "TOO_LARGE", "Too large")
        assert said["detail"] == "The request body is limited to 1000 bytes."

    def test_people_read_a_page_in_both_languages(self):
        (_status, headers, body), _ = one([piece(b"x" * 1001)])
        assert headers[b"content-type"] == b"text/html; charset=utf-8"
        assert "The request body is limited to 1000 bytes." in body.decode()
        assert "не больше 1000 байт" in body.decode()
