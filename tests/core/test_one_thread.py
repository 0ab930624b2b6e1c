"""A request on one thread: writers share a few that stay, so do readers."""

import asyncio
import re
import threading
from collections import Counter
from pathlib import Path

import pytest
from django.core.signals import request_finished
from django.db import connection
from django.http import FileResponse, HttpResponse

from webxen.core import one_thread
from webxen.core.one_thread import OneThread
from webxen.core.request_bodies import Bodies, with_bodies


def scope(method, query=b"", path="/x"):
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(b"host", b"testserver")],
        "server": ("testserver", 80),
        "client": ("127.0.0.1", 1),
    }


async def ask(app, method="POST", body=b"words", *, hangs_up=False, leaves=False, **where):
    """One request; the status and the body of its answer."""
    news = iter([{"type": "http.request", "body": body, "more_body": False}])
    if hangs_up:
        news = iter([{"type": "http.disconnect"}])
    if leaves:
        news = iter([{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}])
    said = []

    async def receive():
        item = next(news, None)
        if item is None:
            await asyncio.sleep(60)
        return item

    async def send(message):
        said.append(message)

    bodies = Bodies(most_bytes=1000, most_bytes_of_strangers=1000, seconds=10, session_cookie="sessionid")
    await with_bodies(app, bodies=bodies, render=None)(scope(method, **where), receive, send)
    status = next((item["status"] for item in said if item["type"] == "http.response.start"), None)
    return status, b"".join(item.get("body", b"") for item in said)


class Recorder(OneThread):
    """Answers with the body it was sent, and notes where."""

    def __init__(self, *, writers=1, readers=1, meanwhile=lambda _request: None):
        super().__init__(writers=writers, readers=readers)
        self.threads, self.meanwhile = Counter(), meanwhile

    def get_response(self, request):
        self.threads[threading.current_thread().name] += 1
        self.meanwhile(request)
        return HttpResponse(request.body, status=201)


def crowd(app, count, method="POST"):
    async def run():
        return await asyncio.gather(*(ask(app, method, f"{n}".encode()) for n in range(count)))

    return asyncio.run(run())


class TestOneThread:
    def test_writers_share_their_threads_and_each_is_answered(self):
        app = Recorder(writers=3)
        assert crowd(app, 40) == [(201, f"{n}".encode()) for n in range(40)]
        assert sum(app.threads.values()) == 40
        assert len(app.threads) <= 3
        assert all(name.startswith("writer") for name in app.threads)

    def test_reads_pass_while_writers_are_held_up(self):
        gate = threading.Event()
        app = Recorder(writers=1, meanwhile=lambda request: request.method == "GET" or gate.wait(20))

        async def run():
            writing = asyncio.create_task(ask(app))
            read = await ask(app, "GET")
            assert not writing.done()
            gate.set()
            return read, await writing

        assert asyncio.run(run()) == ((201, b"words"), (201, b"words"))

    def test_readers_share_their_threads_and_each_is_answered(self):
        app = Recorder(readers=3)
        assert crowd(app, 40, "GET") == [(201, f"{n}".encode()) for n in range(40)]
        assert sum(app.threads.values()) == 40
        assert len(app.threads) <= 3
        assert all(name.startswith("reader") for name in app.threads)

    @pytest.mark.parametrize(
        "where", [{"query": b"wait=60"}, {"query": b"%77ait=60"}, {"path": "/static/webxen/app.css"}]
    )
    def test_neither_the_word_wait_nor_a_file_has_a_thread_of_its_own(self, where):
        app = Recorder()
        asyncio.run(ask(app, "GET", **where))
        assert set(app.threads) == {"reader_0"}

    def test_a_file_is_sent_whole_and_closed(self):
        opened = []

        class Filing(OneThread):
            def get_response(self, _request):
                opened.append(Path(__file__).open("rb"))  # noqa: SIM115 - the response closes it
                return FileResponse(opened[0])

        status, body = asyncio.run(ask(Filing(writers=1, readers=1), "GET"))
        assert (status, body) == (200, Path(__file__).read_bytes())
        assert opened[0].closed

    def test_a_read_that_nobody_waits_for_any_more_is_not_done(self):
        gate, begun = threading.Event(), threading.Event()

        def hold(_request):
            begun.set()
            assert gate.wait(20)

        app = Recorder(meanwhile=hold)

        async def run():
            first = asyncio.create_task(ask(app, "GET"))
            await asyncio.to_thread(begun.wait, 20)
            assert await ask(app, "GET", leaves=True) == (None, b"")
            gate.set()
            return await first

        assert asyncio.run(run()) == (201, b"words")
        assert sum(app.threads.values()) == 1

    def test_a_request_ends_on_its_own_thread(self):
        heard = []

        def note(**_news):
            heard.append(threading.current_thread().name)

        request_finished.connect(note, sender=Recorder)
        try:
            crowd(Recorder(writers=1), 2)
        finally:
            request_finished.disconnect(note, sender=Recorder)
        assert heard == ["writer_0"] * 2

    def test_who_hangs_up_before_the_end_of_the_body_asked_for_nothing(self):
        app = Recorder(writers=1)
        assert asyncio.run(ask(app, hangs_up=True)) == (None, b"")
        assert not app.threads

    def test_the_whole_chain_of_middleware_is_passed_on_that_thread(self, client):
        status, body = asyncio.run(ask(OneThread(writers=1, readers=1)))
        assert status == 404
        again = client.post("/x", headers={"host": "testserver"}).content
        without_id = re.compile(rb"<code>[0-9a-f]{32}</code>")
        assert without_id.sub(b"", body) == without_id.sub(b"", again)


@pytest.mark.django_db(transaction=True)
class TestConnections:
    def seen_by(self, monkeypatch, meanwhile=lambda: None):
        """The connections of three writing requests that came to one thread, in turn."""
        seen = []

        def look(_request):
            connection.ensure_connection()
            seen.append(connection.connection)
            meanwhile()

        app = Recorder(writers=1, meanwhile=look)
        crowd(app, 3)
        last = app._writers.submit(lambda: (connection.connection, connection.close())).result()[0]
        return [*seen, last]

    def test_stay_with_their_thread(self, monkeypatch):
        seen = self.seen_by(monkeypatch)
        assert len({id(one) for one in seen}) == 1

    def test_are_closed_when_they_are_old(self, monkeypatch):
        monkeypatch.setattr(one_thread, "KEEP_SECONDS", 0.0)
        first, second, third, last = self.seen_by(monkeypatch)
        assert len({id(first), id(second), id(third)}) == 3
        assert last is None
