"""Those who must get nothing anywhere, at every address; and bodies that reach for what is not theirs.

Lives here: disabled people, tokens that ended, ids of others in bodies, fields nobody may set, and what a
GET must not change. Who may knock where otherwise is `test_base`.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client

from tests.api.conftest import Caller
from tests.api.test_base import BODIES, MATRIX, ROLES, address_of, callers  # noqa: F401  two fixtures
from webxen.accounts import operations as accounts
from webxen.accounts.models import User
from webxen.approvals.models import MachineRequest
from webxen.core import clock
from webxen.core.models import AuditEntry
from webxen.machines.models import Machine

#: no person signs in there: hosts prove themselves with a token or their key (test_base)
OPEN_TO_ALL = {"schema", "docs", "nowhere", "host-join", "host-rotate-key", "host-refresh"}
CLOSED = sorted(key for key in MATRIX if key[0] not in OPEN_TO_ALL)
#: hosts sign what they send
BY_THEIR_KEY = {(name, "POST") for name in OPEN_TO_ALL}
#: tables that a look may write: sessions are touched by Django itself
MAY_CHANGE = {"django_session"}


def ended_token(user: User) -> Caller:
    """A token that was good until a second ago."""
    _, secret = accounts.create_token(
        user=user, name="old", scopes=(), expires_at=clock.now() + timedelta(seconds=1), now=clock.now()
    )
    user.api_tokens.filter(name="old").update(expires_at=clock.now() - timedelta(seconds=1))
    return Caller(secret)


def revoked_token(user: User) -> Caller:
    token, secret = accounts.create_token(user=user, name="gone", scopes=(), expires_at=None, now=clock.now())
    accounts.revoke_token(user=user, token_id=token.id, now=clock.now())
    return Caller(secret)


def everything() -> dict[str, list[Any]]:
    """Every row of every table."""
    found = {}
    with connection.cursor() as cursor:
        for table in sorted(set(connection.introspection.table_names(cursor)) - MAY_CHANGE):
            cursor.execute(f'SELECT * FROM "{table}"')
            found[table] = sorted(cursor.fetchall(), key=repr)
    return found


def everything_but_tokens() -> dict[str, list[Any]]:
    """When a token was used, and from where, is written down with a refusal, too."""
    own = ("accounts_apitoken", "accounts_tokenaddress", "core_auditentry")
    kept = {table: rows for table, rows in everything().items() if table not in own}
    deeds = AuditEntry.objects.exclude(action="USE_TOKEN").order_by("id")
    return {**kept, "deeds": list(deeds.values_list("id", "action", "target_id"))}


def refuses(answer: Any, field: str, sentence: str) -> None:
    """400, for this field alone, with the very sentence."""
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID")
    assert [one["message"] for one in answer.json()["errors"][field]] == [sentence]


@pytest.mark.parametrize(("name", "method"), CLOSED)
class TestNobodyAnyMore:
    def test_gets_nothing_and_changes_nothing(
        self,
        name: str,
        method: str,
        address_of: Callable[[str], str],  # noqa: F811
        alice: User,
        calls_as: Callable[..., Caller],
    ) -> None:
        path, body = address_of(name), BODIES.get((name, method))
        ended, revoked, disabled = ended_token(alice), revoked_token(alice), calls_as(alice)
        seat = Client()
        seat.force_login(alice)
        User.objects.filter(id=alice.id).update(is_active=False)
        before = everything()
        for caller in (ended, revoked, disabled):
            answer = caller.ask(method, path, body)
            assert (answer.status_code, answer.json()["code"]) == (401, "NOT_AUTHENTICATED")
        assert seat.generic(method, path, content_type="application/json").status_code == 401
        assert everything() == before


class TestLooking:
    @pytest.mark.parametrize("name", sorted({name for name, method in MATRIX if name != "nowhere"}))
    def test_changes_no_row_at_all(
        self,
        name: str,
        address_of: Callable[[str], str],  # noqa: F811
        calls_as: Callable[..., Caller],
        dana: User,
        client: Client,
    ) -> None:
        caller, path = calls_as(dana), address_of(name)
        caller.get("me/")  # the first use of a token is written down
        before = everything()
        for method in ("GET", "HEAD", "OPTIONS"):
            caller.ask(method, path)
        after = everything()
        assert {table for table in before if before[table] != after[table]} <= {"accounts_apitoken"}


class TestForeignIds:
    def wish(self, **changed: Any) -> dict[str, Any]:
        return {"name": "db1", "project": "lab", "image": "minimal", "size": "small", **changed}

    @pytest.mark.parametrize("field", ["project", "image", "size", "network", "host"])
    def test_of_what_is_not_theirs_do_not_exist(
        self,
        field: str,
        as_charlie: Caller,
        as_alice: Caller,
        elsewhere: Any,
        lab: Any,
        minimal: Any,
        small: Any,
        lan: Any,
        xen1: Any,
    ) -> None:
        """charlie names alice's project, and ids that are nobody's; each is refused and nothing is kept."""
        theirs = {"project": "lab"}.get(field, str(uuid4()))
        body = self.wish(project="elsewhere") | {field: theirs}
        answer = as_charlie.post("requests/", body)
        # a host is nobody's to name in a wish: the field is not known
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
        assert not MachineRequest.objects.exists()

    def test_a_retired_image_is_none_for_people(
        self, as_alice: Caller, lab: Any, minimal: Any, small: Any
    ) -> None:
        type(minimal).objects.filter(id=minimal.id).update(is_active=False)
        assert as_alice.post("requests/", self.wish()).status_code == 400


class TestMassAssignment:
    EXTRA = {
        "id": str(UUID(int=1)),
        "uuid": str(UUID(int=1)),
        "owner": "charlie",
        "project": "elsewhere",
        "state": "DELETED",
        "power": "OFF",
        "host": "xen2",
        "fence": 999,
        "seed": {"password_hash": "x"},
        "mac": "00:16:3e:00:00:01",
        "memory_mib": 1,
        "vcpus": 64,
        "is_staff": True,
        "quota": {"machines_limit": 1000},
        "approved_by": "alice",
        "status": "APPROVED",
        "created_at": "2000-01-01T00:00:00Z",
    }

    @pytest.mark.parametrize("field", EXTRA)
    def test_a_machines_own_facts_are_not_for_the_taking(
        self, field: str, as_alice: Caller, web1: Machine
    ) -> None:
        before = everything_but_tokens()
        body = {"description": "x", field: self.EXTRA[field]}
        refuses(as_alice.ask("PATCH", f"machines/{web1.id}/", body), field, "There is no such field.")
        assert everything_but_tokens() == before

    @pytest.mark.parametrize(
        "field", ["status", "decided_by", "approved_by", "user", "requested_by", "requester", "id", "host"]
    )
    def test_a_request_cannot_come_approved(
        self, field: str, as_alice: Caller, lab: Any, minimal: Any, small: Any, lan: Any, xen1: Any
    ) -> None:
        before = everything_but_tokens()
        wish = {"name": "big", "project": "lab", "image": "minimal", "vcpus": 2, "memory_mib": 8000}
        answer = as_alice.post("requests/", {**wish, "disk_gib": 2, field: self.EXTRA.get(field, "dana")})
        refuses(answer, field, "There is no such field.")
        assert everything_but_tokens() == before

    @pytest.mark.parametrize(("name", "method"), sorted(set(BODIES) - BY_THEIR_KEY))
    def test_nobody_rises_by_a_field_of_any_body(
        self,
        name: str,
        method: str,
        address_of: Callable[[str], str],  # noqa: F811
        callers: dict[str, Caller],  # noqa: F811
    ) -> None:
        """Somebody who may do it: with one field too many it is not done."""
        by_role = dict(zip(ROLES, MATRIX[name, method], strict=True))
        who = next((role for role, status in by_role.items() if status < 300), "dana")
        before = everything_but_tokens()
        answer = callers[who].ask(method, address_of(name), {**BODIES[name, method], "is_staff": True})
        refuses(answer, "is_staff", "There is no such field.")
        assert everything_but_tokens() == before

    @pytest.mark.parametrize("field", ["user", "user_id", "is_staff", "secret", "id"])
    def test_a_token_cannot_be_made_for_another(self, field: str, as_alice: Caller, dana: User) -> None:
        before = everything_but_tokens()
        refuses(as_alice.post("tokens/", {"name": "mine", field: dana.id}), field, "There is no such field.")
        assert everything_but_tokens() == before
        assert not dana.api_tokens.exists()


class TestFilters:
    @pytest.mark.parametrize(
        "name", sorted({name for name, method in MATRIX if method == "GET"} - {*OPEN_TO_ALL, "nowhere"})
    )
    def test_do_not_reach_over_to_other_tables(
        self,
        name: str,
        address_of: Callable[[str], str],  # noqa: F811
        as_dana: Caller,
    ) -> None:
        for parameter in (
            "owner__password__startswith",
            "project__memberships__user__password",
            "ordering",
            "search",
            "id",
        ):
            answer = as_dana.get(f"{address_of(name)}?{parameter}=owner__password")
            refuses(answer, parameter, "There is no such parameter.")
