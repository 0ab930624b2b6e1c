"""The dialogue with QEMU's control socket, against a stand-in that speaks it."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.lab.paths import LabError
from devtools.lab.qmp import Qmp


class StandInQemu:
    """Answers each command from a script; what is not in it succeeds with nothing."""

    def __init__(self, path: Path, answers: dict[str, list[dict[str, Any]]]) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        line, _ = self._listener.accept()
        with line, line.makefile("rwb") as file:
            self._send(file, {"QMP": {"version": {}}})
            for raw in file:
                request = json.loads(raw)
                self.asked.append((request["execute"], request.get("arguments", {})))
                # An event may stand between any question and its answer.
                self._send(file, {"event": "SOMETHING", "data": {}})
                script = self._answers.get(request["execute"], [])
                self._send(
                    file, (script.pop(0) if len(script) > 1 else script[0]) if script else {"return": {}}
                )

    @staticmethod
    def _send(file: Any, message: dict[str, Any]) -> None:
        file.write(json.dumps(message).encode() + b"\n")
        file.flush()

    def close(self) -> None:
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def answers() -> dict[str, list[dict[str, Any]]]:
    return {}


@pytest.fixture
def stand_in(tmp_path: Path, answers: dict[str, list[dict[str, Any]]]) -> Iterator[StandInQemu]:
    made = StandInQemu(tmp_path / "qmp", answers)
    yield made
    made.close()


class TestQmp:
    def test_stops_the_machine_before_saving_it(
        self, tmp_path: Path, stand_in: StandInQemu, answers: dict[str, list[dict[str, Any]]]
    ) -> None:
        answers["query-migrate"] = [{"return": {"status": "active"}}, {"return": {"status": "completed"}}]
        with Qmp(tmp_path / "qmp") as qmp:
            qmp.save_to(tmp_path / "state")
        words = [word for word, _ in stand_in.asked]
        assert words[:4] == ["qmp_capabilities", "stop", "migrate-set-parameters", "migrate"]
        assert "cont" not in words
        assert str(tmp_path / "state") in stand_in.asked[3][1]["uri"]

    def test_lets_the_machine_go_on_when_it_cannot_be_saved(
        self, tmp_path: Path, stand_in: StandInQemu, answers: dict[str, list[dict[str, Any]]]
    ) -> None:
        answers["query-migrate"] = [{"return": {"status": "failed", "error-desc": "disk full"}}]
        with Qmp(tmp_path / "qmp") as qmp, pytest.raises(LabError, match="disk full"):
            qmp.save_to(tmp_path / "state")
        assert stand_in.asked[-1][0] == "cont"

    def test_passes_a_refusal_on(
        self, tmp_path: Path, stand_in: StandInQemu, answers: dict[str, list[dict[str, Any]]]
    ) -> None:
        answers["cont"] = [{"error": {"class": "GenericError", "desc": "not now"}}]
        with Qmp(tmp_path / "qmp") as qmp, pytest.raises(LabError, match="refused cont: not now"):
            qmp.ask("cont")

    @pytest.mark.usefixtures("stand_in")
    def test_waits_only_so_long_for_a_state(
        self, tmp_path: Path, answers: dict[str, list[dict[str, Any]]]
    ) -> None:
        answers["query-status"] = [{"return": {"status": "inmigrate"}}]
        with Qmp(tmp_path / "qmp") as qmp, pytest.raises(LabError, match="inmigrate, not paused"):
            qmp.wait_for_status("paused", timeout_seconds=0.2)

    def test_says_when_nobody_listens(self, tmp_path: Path) -> None:
        with pytest.raises(LabError, match="does not answer"):
            Qmp(tmp_path / "qmp")
