"""A silent host switched off over the API: who may, what is answered, and what a script reads afterwards."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from tests.api.conftest import Caller
from tests.fixtures import NOW
from tests.moves import fall_silent_with_a_fence
from webxen.fleet import fencing

LATER = NOW + timedelta(seconds=60)


@pytest.fixture
def dead(pair: Any, web1: Any, settings: Any, tmp_path: Path) -> Any:
    """xen1 is not responding and has a fence, whose agent is not installed."""
    fall_silent_with_a_fence(pair, web1, settings, tmp_path, now=LATER)
    with time_machine.travel(LATER, tick=False):
        yield


class TestFenceHost:
    def test_is_asked_for_and_read_again(self, dead: Any, as_dana: Caller) -> None:
        assert as_dana.get("hosts/xen1/fence/").json() == {
            "agent": "fence_test",
            "latest": None,
            "foreign_domains": [],
        }
        answer = as_dana.post("hosts/xen1/fence/", {})
        assert (answer.status_code, answer.json()["status"]) == (202, "ASKED")
        again = as_dana.post("hosts/xen1/fence/", {})
        assert (again.status_code, again.json()["code"]) == (409, "FENCING_OPEN")
        for claimed in fencing.claim(now=LATER):
            evidence = fencing.use_agent(fencing=claimed)
            fencing.conclude(fencing_id=claimed.id, evidence=evidence, now=LATER)
        latest = as_dana.get("hosts/xen1/fence/").json()["latest"]
        assert latest == {
            "id": answer.json()["id"],
            "agent": "fence_test",
            "status": "FAILED",
            "asked_by": "dana",
            "created_at": "2026-11-24T12:01:00Z",
            "finished_at": "2026-11-24T12:01:00Z",
            "off_exit": None,
            "status_exit": None,
            "said": None,
            "why": "fence_test is not installed on the portal's machine.",
            "machines_started": 0,
        }

    def test_takes_nothing_from_a_body(self, dead: Any, as_dana: Caller) -> None:
        answer = as_dana.post("hosts/xen1/fence/", {"agent": "fence_other"})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["agent"])

    def test_is_for_staff_alone(
        self, dead: Any, as_alice: Caller, as_charlie: Caller, elsewhere: Any
    ) -> None:
        for caller in (as_alice, as_charlie):
            assert caller.post("hosts/xen1/fence/", {}).status_code == 403
            assert caller.get("hosts/xen1/fence/").status_code == 403

    def test_needs_to_be_known_how(self, dead: Any, as_dana: Caller) -> None:
        answer = as_dana.post("hosts/xen2/fence/", {})
        assert (answer.status_code, answer.json()["code"]) == (409, "NO_FENCE")
