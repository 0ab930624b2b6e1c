"""Secrets go where they are needed and are found nowhere else: canaries, and a search for them.

Lives here: one machine made over the stand-in xl with secrets nobody can mistake, then a search of the
database, the journal, the machine's files, the logs, the queue, the command lines and environments of what
the worker started, and an error page. A planted canary must be found by the same search.
"""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.urls import include, path

from tests.api.conftest import Caller
from tests.fixtures import Mailbox, job_of, observe, report
from tests.worker.worker_host import WorkerHost
from webxen.accounts import operations as accounts
from webxen.accounts.models import User
from webxen.core import audit, clock, portal_key
from webxen.machines.models import Machine
from worker import failpoints
from worker.agent import executor

PASSWORD = "canary-root-password-7Qx"
BROKER_PASSWORD = "canary-broker-password-9Zt"


def fails(request: HttpRequest) -> NoReturn:
    """A bug with a secret at hand."""
    password = PASSWORD
    raise RuntimeError(f"a bug, with {len(password)} characters at hand")


urlpatterns = [path("bug/", fails), path("api/v1/bug/", fails), path("", include("webxen.urls"))]
handler500 = "webxen.web.error_pages.server_error"


class Processes(threading.Thread):
    """Reads the command line and environment of every process below this one, as long as it runs.

    And whenever the worker has just begun one: on a busy machine such a program is over before its turn.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self._is_over = threading.Event()
        self._ours = Path("/proc/self/cmdline").read_text()
        failpoints.listener = lambda point: self._look() if point.startswith("during ") else None

    def run(self) -> None:
        while not self._is_over.wait(0.002):
            self._look()

    def _look(self) -> None:
        for pid in _children(os.getpid()):
            with contextlib.suppress(OSError):
                environ = Path(f"/proc/{pid}/environ").read_text(errors="replace")
                # read after the environment: what has not become another program yet has ours
                argv = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
                if argv != self._ours:
                    self.seen |= {argv, environ}

    def end(self) -> str:
        failpoints.listener = None
        self._is_over.set()
        self.join()
        return "\n".join(self.seen)


def _children(pid: int) -> list[str]:
    found: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            direct = (task / "children").read_text().split()
        except OSError:
            continue
        found += direct
        for child in direct:
            try:
                found += Path(f"/proc/{child}/task/{child}/children").read_text().split()
            except OSError:
                continue
    return found


def database_text(*, without: tuple[str, ...] = ()) -> str:
    """Every value of every row, as a dump would have it."""
    rows = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table not in without:
                cursor.execute(f'SELECT * FROM "{table}"')
                rows += [f"{table}: {row!r}" for row in cursor.fetchall()]
    return "\n".join(rows)


def files_text(directory: Path) -> str:
    """Every file below a directory but disks and templates, which hold what the guest needs."""
    kept = [item for item in directory.rglob("*") if item.is_file() and item.suffix not in (".img", ".ext4")]
    return "\n".join(f"{item}: {item.read_bytes().decode('utf-8', 'replace')}" for item in kept)


def found(secrets: dict[str, str], places: dict[str, str]) -> list[str]:
    """Say which secret lies where."""
    return [
        f"{secret} in {place}"
        for place, text in places.items()
        for secret, value in secrets.items()
        if value in text
    ]


@pytest.fixture
def worker_host(tmp_path: Path) -> Iterator[WorkerHost]:
    """A dom0 that takes orders of this portal, and whose broker has a password."""
    worker_host = WorkerHost(tmp_path, broker_url=f"redis://xen1:{BROKER_PASSWORD}@127.0.0.1:1/0")
    worker_host.settings.portal_key_file.write_text(
        portal_key.public_pem(django_settings.WEBXEN_PORTAL_KEY_FILE)
    )
    worker_host.listen()
    yield worker_host
    worker_host.close()


@pytest.fixture
def as_alice(alice: User) -> Caller:
    _, secret = accounts.create_token(user=alice, name="canary", scopes=(), expires_at=None, now=clock.now())
    return Caller(secret)


def private_lines(pem: str) -> str:
    """The body of a PEM: its heading is no secret."""
    return "".join(pem.splitlines()[1:-1])[:40]


@pytest.fixture
def story(
    as_alice: Caller,
    alice: User,
    lab: Any,
    lan: Any,
    small: Any,
    minimal: Any,
    xen1: Any,
    worker_host: WorkerHost,
    mailbox: Mailbox,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[dict[str, str], dict[str, str]]:
    """Make a machine, look at its console; the secrets, and all the places to search."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("WEBXEN_BROKER_URL", worker_host.env["WEBXEN_BROKER_URL"])  # as the real worker has it
    template = worker_host.template()
    type(minimal).objects.update(sha256=template.sha256, file=template.file, kernel="vmlinuz", ramdisk="")
    observe(xen1, now=clock.now())
    wish = {"name": "web1", "project": "lab", "image": "minimal", "size": "small", "network": "lan"}
    with django_capture_on_commit_callbacks(execute=True):
        answer = as_alice.post("requests/", {**wish, "password": PASSWORD})
    assert answer.status_code == 201, answer.content
    assert answer.json()["status"] == "APPROVED", answer.content
    machine = Machine.objects.get()
    assert machine.seed is not None
    password_hash = machine.seed["password_hash"]
    (envelope,) = mailbox.take("xen1") or [f"nothing was sent: {machine.state} {machine.state_reason}"]
    assert password_hash in envelope  # the guest needs it: this is its only way
    watch = Processes()
    watch.start()
    executor.obey(worker_host.dom0(), envelope, now=int(time.time()))
    argv = watch.end()
    end = worker_host.end_of(json.loads(json.loads(envelope)["signed"])["message"]["job_id"])
    assert (end.event, end.error_message) == ("SUCCEEDED", "")
    assert "debugfs" in argv, "the programs the worker started were not seen"
    report(job_of(machine), "STARTED")
    report(job_of(machine), "SUCCEEDED", power="RUNNING")
    ticket = as_alice.post(f"machines/{machine.id}/console/").json()
    seat = Client()
    seat.force_login(alice)
    page = seat.get(f"/machines/{machine.id}/").content.decode()
    secrets = {
        "the root password": PASSWORD,
        "its hash": password_hash,
        "the API token": as_alice.headers["Authorization"].split()[1],
        "the console ticket": ticket["ticket"],
        "the session cookie": seat.cookies["sessionid"].value,
        "Django's secret key": django_settings.SECRET_KEY,
        "the broker's password": BROKER_PASSWORD,
        "the portal's private key": private_lines(django_settings.WEBXEN_PORTAL_KEY_FILE.read_text()),
        "the host's private key": private_lines(worker_host.settings.host_key_file.read_text()),
    }
    places = {
        "the database": database_text(without=("django_session",)),
        "the worker's files": files_text(worker_host.state),
        "the logs": caplog.text,
        "command lines and environments": argv,
        "the machine's page": page,
        "the queue": "\n".join(mailbox.take("xen1")),
        "reports": "\n".join(map(repr, worker_host.reports)),
    }
    return secrets, places


class TestCanaries:
    def test_are_nowhere_after_a_machine_was_made(self, story: tuple[dict[str, str], dict[str, str]]) -> None:
        secrets, places = story
        assert all(len(value) >= 16 for value in secrets.values())
        assert found(secrets, places) == []

    def test_are_found_where_they_are_planted(
        self, alice: User, web1: Machine, worker_host: WorkerHost, caplog: pytest.LogCaptureFixture
    ) -> None:
        audit.record(
            actor=alice,
            action="PLANT",
            target_kind="machine",
            target_id=str(web1.id),
            target_name="web1",
            detail=f"with {PASSWORD}",
            now=clock.now(),
        )
        (worker_host.settings.journal_dir / "planted.json").write_text(json.dumps({"password": PASSWORD}))
        logging.getLogger("worker").warning("planted %s", PASSWORD)
        watch = Processes()
        watch.start()
        process = worker_host.process("-c", "import time; time.sleep(0.5)", PASSWORD, log="planted.txt")
        process.wait(10)
        argv = watch.end()
        places = {
            "the database": database_text(),
            "the worker's files": files_text(worker_host.state),
            "the logs": caplog.text,
            "command lines and environments": argv,
        }
        assert len(found({"it": PASSWORD}, places)) == len(places)


@pytest.mark.urls("tests.secrets.test_canary")
class TestErrorPage:
    @pytest.mark.parametrize("address", ["/bug/", "/api/v1/bug/"])
    def test_shows_nothing_but_that_it_is_one(self, address: str, alice: User) -> None:
        assert django_settings.DEBUG is False
        client = Client(raise_request_exception=False)
        client.force_login(alice)
        answer = client.get(address, headers={"Authorization": f"Bearer {BROKER_PASSWORD}"})
        assert answer.status_code == 500
        text = answer.content.decode() + str(answer.headers)
        secrets = {
            "the root password": PASSWORD,
            "a header": BROKER_PASSWORD,
            "the session cookie": client.cookies["sessionid"].value,
            "Django's secret key": django_settings.SECRET_KEY,
        }
        assert found(secrets, {address: text}) == []
        assert "Traceback" not in text
        assert "RuntimeError" not in text
