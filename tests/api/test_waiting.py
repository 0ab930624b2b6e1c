"""`?wait=` through the whole chain: held on the event loop, answered when the job ends, limited a person."""

import asyncio
import json
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from tests.fixtures import report
from webxen import asgi
from webxen.core import held_reads
from webxen.jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def looks_often(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_reads, "LOOK_SECONDS", 0.05)
    settings.ALLOWED_HOSTS = ["testserver"]


class Line:
    """One request of a program; `leave` hangs up."""

    def __init__(self, caller: Any, path: str, query: str) -> None:
        self.gone, self.said = asyncio.Event(), []
        self._has_body = False
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": "GET",
            "path": f"/api/v1/{path}",
            "query_string": query.encode(),
            "headers": [
                (b"host", b"testserver"),
                (b"authorization", caller.headers["Authorization"].encode()),
            ],
            "client": ("192.0.2.1", 1),
            "server": ("testserver", 80),
        }
        self.task = asyncio.create_task(asgi.http(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        if not self._has_body:
            self._has_body = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.said.append(message)

    def leave(self) -> None:
        self.gone.set()

    async def answer(self) -> tuple[int, dict[bytes, bytes], Any]:
        await asyncio.wait_for(self.task, 30)
        body = b"".join(part.get("body", b"") for part in self.said[1:])
        return self.said[0]["status"], dict(self.said[0]["headers"]), json.loads(body)


def end(job: Job) -> None:
    try:
        report(job, "STARTED")
        report(job, "SUCCEEDED", power="RUNNING")
    finally:
        connection.close()


async def hold(caller: Any, job: Job, seconds: int = 30) -> Line:
    """A request that is held by now."""
    line = Line(caller, f"jobs/{job.id}/", f"wait={seconds}")
    done, _ = await asyncio.wait({line.task}, timeout=1)
    assert not done
    return line


async def test_it_is_answered_when_the_job_has_ended(as_alice: Any, order_machine: Any) -> None:
    job = await sync_to_async(order_machine)()
    line = await hold(as_alice, job)
    await asyncio.to_thread(end, job)
    status, _headers, said = await line.answer()
    assert (status, said["status"]) == (200, "SUCCEEDED")
    again = await Line(as_alice, f"jobs/{job.id}/", "wait=30").answer()
    assert again[2]["status"] == "SUCCEEDED"


async def test_it_is_answered_as_it_stands_when_the_time_is_up(as_alice: Any, order_machine: Any) -> None:
    job = await sync_to_async(order_machine)()
    status, _headers, said = await Line(as_alice, f"jobs/{job.id}/", "%77ait=1").answer()
    assert (status, said["status"]) == (200, "QUEUED")


async def test_the_sixth_of_one_person_is_refused_until_one_has_gone(
    as_alice: Any, as_dana: Any, order_machine: Any
) -> None:
    job = await sync_to_async(order_machine)()
    threads = threading.active_count()
    held = [await hold(as_alice, job) for _ in range(5)]
    assert threading.active_count() <= threads + 9  # the readers, and one that looks
    status, headers, said = await Line(as_alice, f"jobs/{job.id}/", "wait=30").answer()
    assert (status, said["code"], headers[b"retry-after"]) == (429, "TOO_MANY_WAITING", b"5")
    assert headers[b"content-type"] == b"application/problem+json"
    of_dana = await hold(as_dana, job)
    held[0].leave()
    await asyncio.wait_for(held[0].task, 30)
    assert held[0].said == []
    one_more = await hold(as_alice, job)
    for line in (*held, of_dana, one_more):
        line.leave()
    await asyncio.gather(*(line.task for line in (*held, of_dana, one_more)))


@pytest.mark.parametrize("path", ["me/", "machines/", "jobs/", "schema/", "nowhere/"])
async def test_the_word_means_nothing_elsewhere(as_alice: Any, path: str) -> None:
    line = Line(as_alice, path, "wait=60")
    await asyncio.wait_for(line.task, 60)
    assert line.said[0]["status"] in (200, 400, 404)


async def test_a_stranger_is_not_held(as_charlie: Any, order_machine: Any) -> None:
    job = await sync_to_async(order_machine)()
    assert (await Line(as_charlie, f"jobs/{job.id}/", "wait=30").answer())[0] == 404


async def test_whose_right_has_gone_meanwhile_is_not_told(
    as_alice: Any, order_machine: Any, alice: Any
) -> None:
    job = await sync_to_async(order_machine)()
    line = await hold(as_alice, job)
    await sync_to_async(alice.projects.clear)()
    await asyncio.to_thread(end, job)
    assert (await line.answer())[0] == 404
