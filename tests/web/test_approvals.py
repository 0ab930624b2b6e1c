"""Staff's queue, and the answer as the person who asked sees it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from webxen.accounts.models import User
from webxen.approvals.models import MachineRequest
from webxen.machines.models import Machine
from webxen.quotas.models import Quota

Browser = Callable[[User], Client]


@pytest.fixture
def asked(as_: Browser, alice: User, lab: Any, wish: dict[str, str]) -> MachineRequest:
    Quota.objects.filter(project=lab).update(memory_mib_limit=128)
    as_(alice).post("/machines/new/", wish | {"reason": "for the exhibition"})
    return MachineRequest.objects.get()


class TestApprovals:
    def test_show_who_asks_for_what_and_why(self, as_: Browser, asked: MachineRequest, dana: User) -> None:
        text = as_(dana).get("/approvals/").content.decode()
        for words in ("alice", "web1", "for the exhibition", "128 MiB of memory over quota", "xen1"):
            assert words in text

    def test_beyond_the_quota_say_how_to_go_on(self, as_: Browser, asked: MachineRequest, dana: User) -> None:
        answer = as_(dana).post(f"/requests/{asked.id}/approve/", follow=True)
        assert "128 MiB of memory over quota" in answer.content.decode()
        assert "Raise quota" in answer.content.decode()
        asked.refresh_from_db()
        assert asked.status == "PENDING"

    def test_approve_with_a_raised_quota_makes_the_machine(
        self, as_: Browser, asked: MachineRequest, dana: User, alice: User
    ) -> None:
        as_(dana).post(f"/requests/{asked.id}/approve/", {"raise_quota": "on", "host": "xen1"})
        machine = Machine.objects.get(name="web1")
        assert machine.owner == alice
        page = as_(alice).get(f"/requests/{asked.id}/").content.decode()
        assert "Approved" in page
        assert f"/machines/{machine.id}/" in page

    def test_reject_needs_words_and_shows_them_to_who_asked(
        self, as_: Browser, asked: MachineRequest, dana: User, alice: User
    ) -> None:
        browser = as_(dana)
        browser.post(f"/requests/{asked.id}/reject/", {"reason": " "})
        asked.refresh_from_db()
        assert asked.status == "PENDING"
        browser.post(f"/requests/{asked.id}/reject/", {"reason": "The exhibition is over."})
        assert "The exhibition is over." in as_(alice).get(f"/requests/{asked.id}/").content.decode()

    @pytest.mark.parametrize("verb", ["approve", "reject"])
    def test_are_not_for_the_one_who_asked_nor_for_a_stranger(
        self, as_: Browser, asked: MachineRequest, alice: User, charlie: User, verb: str
    ) -> None:
        for person in (alice, charlie):
            answer = as_(person).post(f"/requests/{asked.id}/{verb}/", {"reason": "x", "raise_quota": "on"})
            assert answer.status_code == 404
        asked.refresh_from_db()
        assert asked.status == "PENDING"

    def test_can_be_taken_back_by_who_asked_alone(
        self, as_: Browser, asked: MachineRequest, alice: User, bob: User, charlie: User
    ) -> None:
        assert as_(charlie).post(f"/requests/{asked.id}/withdraw/").status_code == 404
        assert as_(bob).post(f"/requests/{asked.id}/withdraw/").status_code == 403
        assert as_(alice).post(f"/requests/{asked.id}/withdraw/").status_code == 302
        asked.refresh_from_db()
        assert asked.status == "WITHDRAWN"
