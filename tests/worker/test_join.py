"""`webxen-worker` against a small portal of the test's own: what it writes, what it refuses, what it keeps.

The whole way with the real portal, Redis and TLS is tests/jobs/test_joining_for_real.py.
"""

import base64
import contextlib
import http.server
import io
import json
import os
import pty
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from tests.worker.console_bench import ROOT
from worker.cli import portal_client
from worker.cli.join import main
from worker.contract import PortalKeys, membership
from worker.identity import keys, portal_keys

TOKEN = "wxj_a-token"
NO_KEY = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"


class Portal(http.server.ThreadingHTTPServer):
    """Answers what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Window)
        self.key = keys.generate()[1].decode()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.status = 201
        self.headers: dict[str, str] = {}
        self.answer: Any = {
            "host": "xen1",
            "portal_keys": [self.key],
            "serial": 7,
            "broker_url": "redis://dom0.xen1:secret@127.0.0.1:6379/0",
            "broker_ca": "",
            "queue": "dom0.xen1",
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Window(http.server.BaseHTTPRequestHandler):
    server: Portal

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, json.loads(body)))
        answer = self.server.answer
        said = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(self.server.status)
        for name, value in {"Content-Length": str(len(said)), **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_args: Any) -> None:
        """Nothing on the test's screen."""


@pytest.fixture
def portal() -> Iterator[Portal]:
    server = Portal()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    return tmp_path / "etc"


def run(etc: Path, *words: str) -> int:
    return main(["--etc", str(etc), *words])


class TestJoin:
    def test_shows_a_key_it_holds_and_writes_down_the_answer(
        self, portal: Portal, etc: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        etc.mkdir()
        (etc / "worker.env").write_text("# ours\nWEBXEN_LVM_POOLS='vg0,vg1'\n")
        assert run(etc, "join", portal.url, TOKEN) == 0
        ((path, asked),) = portal.asked
        assert path == "/api/v1/hosts/join/"
        words = membership.words_to_join(token=TOKEN, public_key=asked["public_key"])
        proof = base64.b64decode(asked["proof"])
        assert keys.verifier(asked["public_key"].encode())("", words, proof)
        assert keys.public_of((etc / "host.key").read_bytes()).decode() == asked["public_key"]
        assert membership.fingerprint(asked["public_key"]) in capsys.readouterr().out
        env = (etc / "worker.env").read_text()
        for line in (
            "WEBXEN_HOST=xen1",
            "WEBXEN_LVM_POOLS=vg0,vg1",
            f"WEBXEN_PORTAL_URL={portal.url}",
        ):
            assert line in env.splitlines()
        assert (etc / "broker.url").read_text() == "redis://dom0.xen1:secret@127.0.0.1:6379/0"
        assert "secret" not in env
        assert portal_keys.trusted(etc / "portal.pub") == (membership.fingerprint(portal.key),)
        assert {path.stat().st_mode & 0o777 for path in etc.iterdir() if path.name != "worker.env"} == {0o600}

    @pytest.mark.parametrize("words", [(), ("-",)])
    def test_reads_the_token_where_no_list_of_processes_shows_it(
        self, portal: Portal, etc: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{TOKEN}\n"))
        assert run(etc, "join", portal.url, *words) == 0
        assert portal.asked[0][1]["token"] == TOKEN

    def test_asks_for_the_token_at_a_terminal_and_does_not_show_it(self, portal: Portal, etc: Path) -> None:
        ours, theirs = pty.openpty()
        argv = [sys.executable, "-m", "worker", "--etc", str(etc), "join", portal.url]
        process = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, start_new_session=True
        )
        os.close(theirs)
        shown = b""
        while b"Token from the portal's page:" not in shown:
            shown += os.read(ours, 1 << 16)
        os.write(ours, f"{TOKEN}\n".encode())
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(ours, 1 << 16):
                shown += piece
        os.close(ours)
        assert process.wait(30) == 0
        assert b"has joined" in shown
        assert TOKEN.encode() not in shown
        assert portal.asked[0][1]["token"] == TOKEN

    def test_says_where_to_get_a_token_when_there_is_none(
        self, portal: Portal, etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert run(etc, "join", portal.url) == 1
        assert "no token was given" in capsys.readouterr().err
        assert (portal.asked, etc.exists()) == ([], False)

    def test_keeps_a_key_that_is_there(self, portal: Portal, etc: Path) -> None:
        assert run(etc, "join", portal.url, TOKEN) == 0
        first = (etc / "host.key").read_bytes()
        assert run(etc, "join", portal.url, TOKEN) == 1
        assert (len(portal.asked), (etc / "host.key").read_bytes()) == (1, first)
        assert run(etc, "join", portal.url, TOKEN, "--force") == 0
        assert (etc / "host.key").read_bytes() != first

    def test_goes_on_with_the_same_key_after_a_failure(self, portal: Portal, etc: Path) -> None:
        portal.status, portal.answer = 403, {"detail": "This host is not let in."}
        assert run(etc, "join", portal.url, TOKEN) == 1
        assert not (etc / "host.key").exists()
        assert run(etc, "join", portal.url, TOKEN) == 1
        one, two = (asked["public_key"] for _, asked in portal.asked)
        assert one == two

    @pytest.mark.parametrize("url", ["http://portal.example.org", "ftp://x", "portal.example.org", "http://"])
    def test_refuses_an_address_in_the_clear_and_names_the_cure(
        self, url: str, etc: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(etc, "join", url, TOKEN) == 1
        assert "https://" in capsys.readouterr().err
        assert not etc.exists()

    def test_speaks_in_the_clear_when_told_so_in_words(self) -> None:
        url = "http://portal.example.org/"
        assert portal_client.check_address(url, allow_plain=True) == "http://portal.example.org"

    def test_takes_its_token_nowhere_else(
        self, portal: Portal, etc: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        portal.status, portal.headers = 307, {"Location": f"{portal.url}/elsewhere"}
        assert run(etc, "join", portal.url, TOKEN) == 1
        assert len(portal.asked) == 1
        assert "sends us on" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "answer",
        [b"<html>", b"[1]", b"{}", {"host": "xen1"}, {"host": 7, "portal_keys": []}, b"[" * 100_000],
    )
    def test_is_not_confused_by_another_servers_answer(self, answer: Any, portal: Portal, etc: Path) -> None:
        portal.answer = answer
        assert run(etc, "join", portal.url, TOKEN) == 1

    @pytest.mark.parametrize("command", ["rotate-key", "refresh"])
    def test_comes_before_everything_else(
        self, command: str, etc: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(etc, command) == 1
        assert "has not joined" in capsys.readouterr().err


class TestPortalKeys:
    def test_newer_words_count_and_older_ones_do_not(self, tmp_path: Path) -> None:
        path, pems = tmp_path / "portal.pub", [keys.generate()[1].decode() for _ in range(3)]
        assert portal_keys.keep(path, PortalKeys((pems[0], pems[1]), 5))
        assert len(portal_keys.trusted(path)) == 2
        for serial in (4, 5):
            assert not portal_keys.keep(path, PortalKeys((pems[2],), serial))
        assert portal_keys.keep(path, PortalKeys((pems[1],), 6))
        assert portal_keys.trusted(path) == (membership.fingerprint(pems[1]),)

    @pytest.mark.parametrize("word", [(), ("nonsense",), (NO_KEY,)])
    def test_a_word_that_names_no_key_locks_nobody_out(self, word: tuple[str, ...], tmp_path: Path) -> None:
        path = tmp_path / "portal.pub"
        path.write_bytes(keys.generate()[1])
        before = path.read_bytes()
        assert not portal_keys.keep(path, PortalKeys(word, 9))
        assert path.read_bytes() == before


def test_fingerprint_is_the_one_of_ssh_keygen(tmp_path: Path) -> None:
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.skip("no ssh-keygen here")
    pem = keys.generate()[1]
    line = load_pem_public_key(pem).public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (tmp_path / "key.pub").write_bytes(line)
    argv = [program, "-lf", str(tmp_path / "key.pub")]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=10).stdout
    assert membership.fingerprint(pem.decode()) in said.split()
