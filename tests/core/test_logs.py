"""What the portal's processes print: one JSON object a line, whoever wrote it."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conventions.tree import ROOT
from webxen.core import logs, request_context

FIELDS = {"time", "level", "logger", "request_id", "message"}
GUARDED = ["--http", "webxen.core.connections:GuardedHttp"]
FLAGS = [*GUARDED, "--no-proxy-headers", "--host", "127.0.0.1", "--timeout-graceful-shutdown", "1"]


def line_of(level: int, message: str, *words: object, **more: Any) -> dict[str, Any]:
    record = logging.getLogger("webxen.some").makeRecord("webxen.some", level, "f", 1, message, words, **more)
    text = logs.json_formatter().format(record)
    assert "\n" not in text
    return dict(json.loads(text))


class TestLine:
    def test_has_time_level_logger_request_and_message(self) -> None:
        with request_context.within(request_id="r1", address="192.0.2.7"):
            line = line_of(logging.WARNING, "envelope of %s dropped", "xen1", exc_info=None)
        assert set(line) >= FIELDS
        assert (line["level"], line["logger"], line["request_id"]) == ("warning", "webxen.some", "r1")
        assert line["message"] == "envelope of xen1 dropped"
        assert line["address"] == "192.0.2.7"
        assert line["time"].endswith("Z")

    def test_holds_the_traceback(self) -> None:
        try:
            {}["gone"]
        except LookupError:
            line = line_of(logging.ERROR, "it broke", exc_info=sys.exc_info())
        assert "Traceback" in line["exception"]
        assert "KeyError: 'gone'" in line["exception"]

    def test_cannot_be_forged_by_a_newline(self) -> None:
        line = line_of(
            logging.INFO, "path %s", '/x\n{"level": "info", "message": "signed in"}', exc_info=None
        )
        assert line["message"].startswith("path /x\n{")

    def test_outside_of_a_request_has_an_empty_id(self) -> None:
        assert line_of(logging.INFO, "tick", exc_info=None)["request_id"] == ""


@contextmanager
def running(argv: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *argv], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=env
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_for(log: Path, word: str) -> None:
    until = time.monotonic() + 60
    while word not in log.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)


def lines_in(log: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines
    assert all(set(line) >= FIELDS for line in lines), lines
    return lines


class TestProcess:
    def test_web_prints_json_alone_with_the_id_of_the_request(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with running(["-m", "uvicorn", "webxen.asgi:application", "--port", str(port), *FLAGS], log):
            wait_for(log, "Uvicorn running")
            ask = urllib.request.Request(
                f"http://127.0.0.1:{port}/api/v1/nowhere/", headers={"X-Request-Id": "mine-1"}
            )
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(ask)
            assert refused.value.headers["X-Request-Id"] == "mine-1"
            refused.value.close()
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(b"not http at all\r\n\r\n")
                assert b"x-request-id: " in line.recv(1000)
            wait_for(log, "Invalid HTTP request")
        lines = lines_in(log)
        assert any(line["request_id"] == "mine-1" and "Not Found" in line["message"] for line in lines)
        assert any(line["logger"] == "uvicorn.error" for line in lines)

    @pytest.mark.parametrize(
        "argv",
        [
            [
                "worker",
                "-Q",
                "clock",
                "-P",
                "solo",
                "--without-mingle",
                "--without-gossip",
                "--without-heartbeat",
            ],
            ["beat", "--pidfile=", "-s"],
        ],
        ids=["clock", "beat"],
    )
    def test_celery_prints_json_alone(self, tmp_path: Path, argv: list[str]) -> None:
        log = tmp_path / "log"
        more = [str(tmp_path / "schedule")] if argv[0] == "beat" else []
        with running(["-m", "celery", "-q", "-A", "webxen.celery", *argv, *more], log):
            wait_for(log, "rror")
        assert lines_in(log)

    def test_starts_celery_quietly_wherever_it_is_started(self) -> None:
        """Its banner is no JSON."""
        for file in ("docker-compose.yml", "docs/operating.md", "devtools/lab/portal.py"):
            text = (ROOT / file).read_text()
            assert "celery" in text
            for place in ('"celery", "-A"', "celery -A", '"celery", "--app"'):
                assert place not in text, file


def test_an_exception_nobody_caught_in_a_thread_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    def break_down() -> None:
        raise LookupError("gone")

    before = threading.excepthook, sys.excepthook
    try:
        logs.install()
        thread = threading.Thread(target=break_down, name="fence")
        thread.start()
        thread.join()
    finally:
        threading.excepthook, sys.excepthook = before
        logging.captureWarnings(False)
    assert "uncaught exception in fence" in caplog.text
    assert "LookupError: gone" in caplog.text
