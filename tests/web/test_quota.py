"""The page of a quota: who uses what, how far over, whom to ask, and the way from asking to the grant."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from webxen.accounts.models import User
from webxen.approvals.models import QuotaRequest
from webxen.quotas import operations as quotas
from webxen.quotas import queries
from webxen.quotas.shortage import Figures, RunningLimit

Browser = Callable[[User], Client]
LIMITS = {"machines": "10", "vcpus": "20", "memory_mib": "4096", "disk_gib": "100"}


def text_of(client: Client, path: str) -> str:
    return client.get(path).content.decode()


class TestPage:
    def test_says_who_uses_what_and_whom_to_ask(
        self, as_: Browser, web1: Any, alice: User, dana: User
    ) -> None:
        text = text_of(as_(alice), "/quota/")
        for words in ("Quota of lab", "web1", "256 MiB", "1 running", "dana@example.org", "Request more"):
            assert words in text, words
        assert "data-over" not in text

    def test_shows_how_far_over_a_lowered_limit_it_is(
        self, as_: Browser, web1: Any, lab: Any, alice: User, dana: User, now: Any
    ) -> None:
        running = RunningLimit(0, None)
        quotas.set_limits(project=lab, limits=Figures(0, 1, 128, 9), running=running, staff=dana, now=now)
        text = text_of(as_(alice), "/quota/?project=lab")
        for words in ("128 MiB over the limit", "1 over the limit", "1 running of 0"):
            assert words in text, words

    def test_is_not_there_for_a_stranger(
        self, as_: Browser, web1: Any, charlie: User, elsewhere: Any
    ) -> None:
        assert as_(charlie).get("/quota/?project=lab").status_code == 404
        assert "web1" not in text_of(as_(charlie), "/quota/")

    def test_is_linked_from_a_refused_start(
        self, as_: Browser, web1: Any, lab: Any, alice: User, dana: User, now: Any
    ) -> None:
        type(web1).objects.filter(id=web1.id).update(power="OFF")
        quotas.release_running(holder=web1.id, now=now)
        quotas.set_limits(
            project=lab,
            limits=Figures(10, 16, 4096, 100),
            running=RunningLimit(0, None),
            staff=dana,
            now=now,
        )
        answer = as_(alice).post(f"/machines/{web1.id}/actions/start/", follow=True)
        text = answer.content.decode()
        assert "1 running vCPU over quota: 0 of 0 in use" in text
        assert 'class="alert-link" href="/quota/"' in text


class TestMore:
    def ask(self, client: Client, lab: Any, **changed: str) -> Any:
        return client.post(
            f"/quota/{lab.id}/ask/", {**LIMITS, "reason": "for the show", **changed}, follow=True
        )

    def test_goes_from_asking_to_the_grant(self, as_: Browser, lab: Any, alice: User, dana: User) -> None:
        assert "was sent" in self.ask(as_(alice), lab).content.decode()
        queue = text_of(as_(dana), "/approvals/")
        for words in ("More quota for lab", "for the show", "16 → <strong>20</strong>", 'value="1"'):
            assert words in queue, words
        wish = QuotaRequest.objects.get()
        as_(dana).post(f"/quota/requests/{wish.id}/approve/", {"version": "1"})
        assert queries.headroom(project=lab).limit.vcpus == 20
        assert "Approved" in text_of(as_(alice), "/quota/")

    def test_changed_after_the_look_is_not_granted(
        self, as_: Browser, lab: Any, alice: User, dana: User
    ) -> None:
        self.ask(as_(alice), lab)
        assert "was changed" in self.ask(as_(alice), lab, vcpus="500").content.decode()
        wish = QuotaRequest.objects.get()
        answer = as_(dana).post(f"/quota/requests/{wish.id}/approve/", {"version": "1"}, follow=True)
        assert "was changed after you opened it" in answer.content.decode()
        assert queries.headroom(project=lab).limit.vcpus == 16

    @pytest.mark.parametrize("typed", ["-1", "1e3", "many", "3"])
    def test_nonsense_is_told(self, as_: Browser, lab: Any, alice: User, typed: str) -> None:
        assert 'role="alert"' in self.ask(as_(alice), lab, vcpus=typed).content.decode()
        assert not QuotaRequest.objects.exists()

    def test_a_stranger_asks_for_nothing_here(
        self, as_: Browser, lab: Any, charlie: User, elsewhere: Any
    ) -> None:
        assert self.ask(as_(charlie), lab).status_code == 404


class TestLimits:
    def test_are_set_by_staff_alone(
        self, as_: Browser, lab: Any, alice: User, charlie: User, dana: User
    ) -> None:
        path, low = f"/quota/{lab.id}/limits/", {**LIMITS, "vcpus": "2", "running_vcpus": "1"}
        for person in (alice, charlie):
            assert as_(person).post(path, low).status_code == 404
        assert "was set" in as_(dana).post(path, low, follow=True).content.decode()
        room = queries.headroom(project=lab)
        assert (room.limit.vcpus, room.running_limit) == (2, RunningLimit(1, None))
        as_(dana).post(path, {**low, "disk_gib": "lots"})
        assert queries.headroom(project=lab) == room
