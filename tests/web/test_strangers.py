"""Who may open which page, built from the routes themselves: a new page cannot be forgotten here."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import URLPattern, reverse

from webxen.accounts.models import User
from webxen.web.urls import urlpatterns

Browser = Callable[[User], Client]

#: the uuid of a domain that somebody made by hand
FOREIGN = UUID(int=1)
#: pages that belong to a machine, a request or a job
OWNED = {"machine", "request", "job", "more", "project"}
DECISIONS = {"host_accept", "host_reject", "host_remove", "host_domain"}
MOVING = {
    "machine_move",
    "job_recheck",
    "job_discard_source_disks",
    "host_activate",
    "host_drain",
    "host_dead",
    "host_fence",
    "balance",
}
STAFF = {
    "approvals",
    "hosts",
    "host",
    "add_host",
    "differences",
    *DECISIONS,
    *MOVING,
    "request_approve",
    "request_reject",
    "more_approve",
    "more_reject",
    "project_limits",
    "restore_end",
}
POST_ONLY = {
    *DECISIONS,
    "host_activate",
    "host_fence",
    "job_recheck",
    "job_discard_source_disks",
    "machine_act",
    "job_cancel",
    "request_withdraw",
    "request_approve",
    "request_reject",
    "new_machine_outlook",
    "project_ask",
    "project_limits",
    "more_withdraw",
    "more_approve",
    "more_reject",
    "restore_end",
}


def names() -> list[str]:
    return [str(route.name) for route in urlpatterns if isinstance(route, URLPattern)]


@pytest.fixture
def address_of(web1: Any, pending: Any, more_wanted: Any, xen1: Any) -> Callable[[str], str]:
    ids = {
        "machine": web1.id,
        "request": pending.id,
        "job": web1.jobs.get().id,
        "more": more_wanted.id,
        "project": web1.project_id,
    }

    def find(name: str) -> str:
        kind = name.split("_", maxsplit=1)[0]
        if name == "host_domain":
            return reverse(name, args=["xen1", FOREIGN])
        if kind == "host":
            return reverse(name, args=["xen1"])
        if name == "machine_act":
            return reverse(name, args=[web1.id, "poweroff"])
        return reverse(name, args=[ids[kind]]) if kind in OWNED else reverse(name)

    return find


def knock(client: Client, name: str, address: str) -> int:
    return (client.post if name in POST_ONLY else client.get)(address).status_code


@pytest.mark.parametrize("name", names())
class TestEveryPage:
    def test_sends_nobody_in_particular_to_sign_in(self, name: str, address_of: Callable[[str], str]) -> None:
        address = address_of(name)
        client = Client()
        answer = (client.post if name in POST_ONLY else client.get)(address)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/accounts/login/")

    @pytest.mark.parametrize("who", ["alice", "dana"])
    def test_sends_who_was_disabled_to_sign_in(
        self,
        name: str,
        who: str,
        address_of: Callable[[str], str],
        as_: Browser,
        request: pytest.FixtureRequest,
        alice: User,
        dana: User,
    ) -> None:
        """The session was good until just now; owner and staff alike get nothing of the page any more."""
        address, client = address_of(name), as_(request.getfixturevalue(who))
        User.objects.filter(username=who).update(is_active=False)
        answer = (client.post if name in POST_ONLY else client.get)(address)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/accounts/login/")

    def test_does_not_exist_for_a_stranger_if_it_is_somebodys(
        self, name: str, address_of: Callable[[str], str], as_: Browser, charlie: User, elsewhere: Any
    ) -> None:
        expected = 404 if name.split("_", maxsplit=1)[0] in OWNED or name in STAFF else 200
        assert knock(as_(charlie), name, address_of(name)) == expected

    def test_is_there_for_staff(
        self, name: str, address_of: Callable[[str], str], as_: Browser, dana: User
    ) -> None:
        # 403: a request is withdrawn by who made it; 302: the click was taken; 409: the host is not silent
        allowed = {
            "request_withdraw": {403},
            "more_withdraw": {403},
            "machine_act": {302},
            "host_dead": {409},
            "job_discard_source_disks": {404},
            "restore_end": {404},  # nothing was restored
            "job_recheck": {404},  # of a job that is no move
            # an empty form: shown again with what is wrong in it
            **{key: {400} for key in ("more_reject", "project_ask", "project_limits", "request_reject")},
            "more_approve": {409},
            "request_approve": {409},
        }.get(name, {200, 302})
        assert knock(as_(dana), name, address_of(name)) in allowed

    def test_shows_owners_what_is_theirs_and_staff_pages_to_staff_alone(
        self, name: str, address_of: Callable[[str], str], as_: Browser, alice: User
    ) -> None:
        expected = {404} if name in STAFF else {400} if name == "project_ask" else {200, 302}
        assert knock(as_(alice), name, address_of(name)) in expected


def test_a_machine_that_never_was_is_404(as_: Browser, alice: User) -> None:
    assert as_(alice).get(reverse("machine", args=[uuid4()])).status_code == 404


def test_a_live_part_takes_the_whole_page_to_sign_in_when_the_session_is_over(web1: Any) -> None:
    page = f"http://testserver/machines/{web1.id}/"
    answer = Client().get(
        f"/machines/{web1.id}/live/", headers={"HX-Request": "true", "HX-Current-URL": page}
    )
    assert answer["HX-Redirect"] == f"/accounts/login/?next=%2Fmachines%2F{web1.id}%2F"
