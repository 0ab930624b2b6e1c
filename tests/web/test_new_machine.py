"""Asking for a machine with a plain form, as a browser without JavaScript does."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from webxen.accounts.models import User
from webxen.approvals.models import MachineRequest
from webxen.machines.models import Machine
from webxen.quotas.models import Quota

Browser = Callable[[User], Client]
URL = "/machines/new/"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5YcVpEm5o5H3sOeWzWTPlNx0Jm2zGd9y0T3bHq0H1x alice@laptop"


@pytest.fixture
def at_desk(as_: Browser, alice: User, lab: Any, wish: dict[str, str]) -> Client:
    return as_(alice)


class TestNewMachine:
    def test_inside_the_quota_is_made_at_once(self, at_desk: Client, wish: dict[str, str]) -> None:
        answer = at_desk.post(URL, wish)
        machine = Machine.objects.get(name="web1")
        assert answer.status_code == 302
        assert answer["Location"] == f"/machines/{machine.id}/"

    def test_over_the_quota_waits_for_staff_with_the_exact_shortage(
        self, at_desk: Client, wish: dict[str, str], lab: Any
    ) -> None:
        Quota.objects.filter(project=lab).update(memory_mib_limit=128)
        answer = at_desk.post(URL, wish | {"reason": "a test"}, follow=True)
        assert MachineRequest.objects.get().status == "PENDING"
        assert "128 MiB of memory over quota: 0 MiB of 128 MiB used" in answer.content.decode()
        assert not Machine.objects.exists()

    @pytest.mark.parametrize(
        "name", ['x";bootloader="/bin/sh', "Domain-0", "-h", "007", "a--incoming", "a\nb", "", "Ä"]
    )
    def test_refuses_a_bad_name_beside_its_field_and_loses_nothing(
        self, at_desk: Client, wish: dict[str, str], name: str
    ) -> None:
        answer = at_desk.post(URL, wish | {"name": name, "reason": "kept words", "ssh_keys": KEY})
        text = answer.content.decode()
        assert answer.status_code == 400
        assert answer.context["form"].errors["name"]
        assert 'id="id_name_error"' in text
        assert "kept words" in text
        assert KEY.split()[1] in text
        assert not MachineRequest.objects.exists()
        assert not Machine.objects.exists()

    @pytest.mark.parametrize("memory", ["true", "1.5", "NaN", str(2**63), "-1", "0", ""])
    def test_refuses_own_figures_that_are_none(
        self, at_desk: Client, wish: dict[str, str], memory: str
    ) -> None:
        answer = at_desk.post(URL, wish | {"size": "own", "memory_mib": memory})
        assert answer.status_code == 400
        assert answer.context["form"].errors["memory_mib"]
        assert not MachineRequest.objects.exists()

    def test_says_of_each_size_what_would_happen(self, at_desk: Client, lab: Any) -> None:
        ready = at_desk.get(URL).content.decode()
        assert 'data-verdict="READY"' in ready
        assert "available now" in ready
        Quota.objects.filter(project=lab).update(memory_mib_limit=128)
        short = at_desk.get(URL).content.decode()
        assert "needs approval: 128 MiB of memory over quota" in short
        assert "Request approval" in short

    def test_lists_the_reasons_where_there_are_several(self, at_desk: Client, lab: Any) -> None:
        Quota.objects.filter(project=lab).update(memory_mib_limit=128, vcpus_limit=0)
        outlook = at_desk.get(URL).context["outlook"]
        assert outlook.sentence == "needs approval: over quota"
        assert [reason.partition(":")[0] for reason in outlook.reasons] == [
            "1 vCPU over quota",
            "128 MiB of memory over quota",
        ]

    def test_says_when_no_host_has_room(self, at_desk: Client, xen1: Any) -> None:
        xen1.state = "DRAINING"
        xen1.save()
        assert "no host has room" in at_desk.get(URL).content.decode()

    def test_summary_follows_the_choice(self, at_desk: Client, wish: dict[str, str]) -> None:
        answer = at_desk.post(f"{URL}outlook/", wish | {"size": "own", "memory_mib": "512"})
        text = answer.content.decode()
        assert "+512 MiB" in text
        assert "Request approval" in text
        assert not MachineRequest.objects.exists()

    def test_summary_survives_nonsense(self, at_desk: Client, wish: dict[str, str]) -> None:
        nonsense = {"size": "own", "memory_mib": "²", "image": "?", "network": "nowhere", "project": "x"}
        assert at_desk.post(f"{URL}outlook/", wish | nonsense).status_code == 200

    def test_another_peoples_project_is_refused(
        self, at_desk: Client, wish: dict[str, str], elsewhere: Any
    ) -> None:
        answer = at_desk.post(URL, wish | {"project": "elsewhere"})
        assert answer.status_code == 400
        assert answer.context["form"].errors["project"]
        assert not Machine.objects.exists()

    def test_offers_the_keys_of_last_time(self, at_desk: Client, wish: dict[str, str]) -> None:
        assert at_desk.post(URL, wish | {"ssh_keys": KEY}).status_code == 302
        assert KEY in at_desk.get(URL).content.decode()

    def test_without_a_seat_says_whom_to_ask(self, as_: Browser, dana: User) -> None:
        assert "You are not a member of any project" in as_(dana).get(URL).content.decode()

    def test_is_never_kept_by_a_cache(self, at_desk: Client) -> None:
        assert "no-store" in at_desk.get(URL)["Cache-Control"]
