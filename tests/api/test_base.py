"""Who may knock where: every address of the API with every role, from the resolver's own list."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import transaction
from django.urls import reverse

from tests.api.conftest import Caller
from tests.fixtures import observe, public_pem
from webxen.accounts import operations as accounts
from webxen.accounts.models import User
from webxen.api.urls import urlpatterns
from webxen.approvals.models import MachineRequest, QuotaRequest
from webxen.core import clock
from webxen.fleet.models import Evacuation
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from worker import contract

ROLES = ("nobody", "reader", "alice", "bob", "charlie", "dana")
#: address and method → what each role gets, in the order of ROLES. alice asked; bob is her colleague.
EVERYBODY = (401, 200, 200, 200, 200, 200)
STAFF = (401, 403, 403, 403, 403, 200)
OURS = (401, 200, 200, 200, 404, 200)
MATRIX: dict[tuple[str, str], tuple[int, ...]] = {
    ("me", "GET"): EVERYBODY,
    ("version", "GET"): EVERYBODY,
    ("tokens", "GET"): EVERYBODY,
    ("tokens", "POST"): (401, 403, 201, 201, 201, 201),
    # one's own and, for staff, everybody's: not a colleague's
    ("token", "GET"): (401, 200, 200, 404, 404, 200),
    ("token", "DELETE"): (401, 403, 204, 404, 404, 204),
    ("images", "GET"): EVERYBODY,
    ("sizes", "GET"): EVERYBODY,
    ("networks", "GET"): EVERYBODY,
    ("pools", "GET"): STAFF,
    ("hosts", "GET"): STAFF,
    ("hosts", "POST"): (401, 403, 403, 403, 403, 201),
    ("host", "GET"): STAFF,
    # alice's machine is on it
    ("host", "DELETE"): (401, 403, 403, 403, 403, 409),
    # it does not wait to be accepted
    ("host-accept", "POST"): (401, 403, 403, 403, 403, 409),
    ("host-reject", "POST"): (401, 403, 403, 403, 403, 409),
    ("host-drain", "GET"): STAFF,
    ("host-drain", "POST"): (401, 403, 403, 403, 403, 202),
    # nothing was drained from it
    ("host-undrain", "POST"): (401, 403, 403, 403, 403, 409),
    ("host-activate", "POST"): STAFF,
    # it was heard of
    ("host-rescue", "POST"): (401, 403, 403, 403, 403, 409),
    ("host-fence", "GET"): STAFF,
    # nobody has said how it is switched off
    ("host-fence", "POST"): (401, 403, 403, 403, 403, 409),
    ("known-domains", "GET"): STAFF,
    ("known-domain", "PUT"): STAFF,
    # it is not noted
    ("known-domain", "DELETE"): (401, 403, 403, 403, 403, 404),
    ("evacuation", "GET"): STAFF,
    ("restore", "GET"): STAFF,
    # nothing was restored
    ("restore-looked", "POST"): (401, 403, 403, 403, 403, 404),
    ("balance", "GET"): STAFF,
    # none of these is proposed
    ("balance", "POST"): (401, 403, 403, 403, 403, 409),
    # whoever they are: what is in the body counts, and here it is nothing good
    ("host-join", "POST"): (403,) * 6,
    ("host-rotate-key", "POST"): (403,) * 6,
    ("host-refresh", "POST"): (403,) * 6,
    ("requests", "GET"): EVERYBODY,
    # charlie and dana have no seat in the project that is named
    ("requests", "POST"): (401, 403, 201, 201, 400, 400),
    ("request", "GET"): OURS,
    ("approve", "POST"): (401, 403, 403, 403, 404, 202),
    ("reject", "POST"): (401, 403, 403, 403, 404, 200),
    ("withdraw", "POST"): (401, 403, 200, 403, 404, 403),
    ("quotas", "GET"): EVERYBODY,
    ("quota", "GET"): OURS,
    ("quota", "PUT"): (401, 403, 403, 403, 404, 200),
    ("quota-requests", "GET"): EVERYBODY,
    # alice waits for an answer already; charlie and dana have no seat in the project that is named
    ("quota-requests", "POST"): (401, 403, 409, 201, 400, 400),
    ("quota-request", "GET"): OURS,
    ("quota-request", "PUT"): (401, 403, 200, 403, 404, 403),
    ("approve-quota", "POST"): (401, 403, 403, 403, 404, 200),
    ("reject-quota", "POST"): (401, 403, 403, 403, 404, 200),
    ("withdraw-quota", "POST"): (401, 403, 200, 403, 404, 403),
    ("machines", "GET"): EVERYBODY,
    ("machine", "GET"): OURS,
    ("machine", "PATCH"): (401, 403, 200, 200, 404, 200),
    ("machine", "DELETE"): (401, 403, 202, 202, 404, 202),
    # it runs already
    ("start", "POST"): (401, 403, 409, 409, 404, 409),
    ("shutdown", "POST"): (401, 403, 202, 202, 404, 202),
    ("poweroff", "POST"): (401, 403, 202, 202, 404, 202),
    ("reboot", "POST"): (401, 403, 202, 202, 404, 202),
    # there is no other host it could go to
    ("migrate", "GET"): (401, 403, 403, 403, 404, 200),
    ("migrate", "POST"): (401, 403, 403, 403, 404, 409),
    ("config", "GET"): OURS,
    ("console", "POST"): (401, 403, 201, 201, 404, 201),
    ("jobs", "GET"): EVERYBODY,
    ("job", "GET"): OURS,
    ("job-events", "GET"): OURS,
    # it is no move
    ("job-recheck", "POST"): (401, 403, 404, 404, 404, 404),
    ("job-discard-source-disks", "POST"): (401, 403, 404, 404, 404, 404),
    # it has ended
    ("job-cancel", "POST"): (401, 403, 409, 409, 404, 409),
    ("audit", "GET"): EVERYBODY,
    ("schema", "GET"): (200,) * 6,
    ("docs", "GET"): (200,) * 6,
    ("nowhere", "GET"): (404,) * 6,
    ("nowhere", "POST"): (404,) * 6,
}
FOREIGN = "00000000-0000-4000-8000-0000000000aa"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
A_KEY = public_pem(Ed25519PrivateKey.generate())
BODIES: dict[tuple[str, str], Any] = {
    ("tokens", "POST"): {"name": "laptop"},
    ("requests", "POST"): {"name": "db1", "project": "lab", "image": "minimal", "size": "small"},
    ("approve", "POST"): {"raise_quota": True},
    ("reject", "POST"): {"reason": "Not this year."},
    ("quota", "PUT"): {"machines": 1, "vcpus": 1, "memory_mib": 64, "disk_gib": 1},
    ("quota-requests", "POST"): {"project": "lab", "reason": "for the exhibition", "vcpus": 20},
    ("quota-request", "PUT"): {"reason": "for the exhibition", "vcpus": 30},
    ("approve-quota", "POST"): {"version": 1},
    ("reject-quota", "POST"): {"reason": "Not this year."},
    ("hosts", "POST"): {"name": "xen7"},
    ("host-rescue", "POST"): {"words": "xen1 is off"},
    ("balance", "POST"): {"machines": ["00000000-0000-4000-8000-000000000000"]},
    ("host-accept", "POST"): {"fingerprint": "SHA256:none"},
    ("host-join", "POST"): {"token": "wxj_none", "public_key": A_KEY, "proof": "AAAA"},
    ("host-rotate-key", "POST"): {
        "host": "xen1",
        "public_key": A_KEY,
        "at": 0,
        "signature": "AAAA",
        "proof": "AAAA",
    },
    ("host-refresh", "POST"): {"host": "xen1", "at": 0, "signature": "AAAA"},
    ("machine", "PATCH"): {"description": "the web server"},
}


@pytest.fixture
def address_of(
    web1: Machine, pending: MachineRequest, more_wanted: QuotaRequest, alice: User, xen1: Any
) -> Callable[[str], str]:
    token, _ = accounts.create_token(user=alice, name="of alice", scopes=(), expires_at=None, now=clock.now())
    observe(xen1, domains=(contract.DomainSeen("mail", FOREIGN, 7, "RUNNING", 128, 1),))
    ids = {
        "token": token.id,
        **dict.fromkeys(("host", "host-accept", "host-reject"), xen1.id),
        "known-domains": xen1.name,
        **dict.fromkeys(
            ("host-drain", "host-undrain", "host-activate", "host-rescue", "host-fence"), xen1.name
        ),
        "evacuation": Evacuation.objects.create(kind="BALANCE", asked_by=alice, created_at=clock.now()).id,
        "request": pending.id,
        "approve": pending.id,
        "reject": pending.id,
        "withdraw": pending.id,
        "quota": web1.project_id,
        **dict.fromkeys(("quota-request", "approve-quota", "reject-quota", "withdraw-quota"), more_wanted.id),
        "job": Job.objects.get(machine=web1).id,
        "job-events": Job.objects.get(machine=web1).id,
        "job-cancel": Job.objects.get(machine=web1).id,
        "job-discard-source-disks": Job.objects.get(machine=web1).id,
        "job-recheck": Job.objects.get(machine=web1).id,
        "nowhere": "nothing/here/",
        **dict.fromkeys(
            ("machine", "start", "shutdown", "poweroff", "reboot", "migrate", "config", "console"), web1.id
        ),
    }

    def address(name: str) -> str:
        if name == "known-domain":
            return reverse("api:known-domain", args=["xen1", FOREIGN])
        return reverse(f"api:{name}", args=[ids[name]] if name in ids else [])

    return address


@pytest.fixture
def callers(role_secrets: dict[str, str]) -> dict[str, Caller]:
    """One of each role."""
    return {role: Caller(role_secrets[role]) for role in ROLES}


class TestEveryAddress:
    def test_is_in_the_matrix(self):
        assert {pattern.name for pattern in urlpatterns} == {name for name, _ in MATRIX}

    @pytest.mark.parametrize(("name", "method"), MATRIX)
    def test_answers_each_role_as_the_matrix_says(self, name, method, address_of, callers):
        got = []
        for role in ROLES:
            with transaction.atomic():
                answer = callers[role].ask(method, address_of(name), BODIES.get((name, method)))
                transaction.set_rollback(True)
            got.append(answer.status_code)
            if answer.status_code >= 400:
                assert answer["Content-Type"] == "application/problem+json"
                assert answer.json()["status"] == answer.status_code
        assert dict(zip(ROLES, got, strict=True)) == dict(zip(ROLES, MATRIX[name, method], strict=True))

    @pytest.mark.parametrize("name", sorted({name for name, _ in MATRIX} - {"nowhere"}))
    def test_refuses_every_other_method(self, name, address_of, callers):
        for method in METHODS:
            if (name, method) in MATRIX:
                continue
            answer = callers["dana"].ask(method, address_of(name), {})
            assert answer.status_code == 405, method
            assert answer.json()["code"] == "METHOD_NOT_ALLOWED"
        assert callers["dana"].ask("TRACE", address_of(name)).status_code == 405

    @pytest.mark.parametrize("name", sorted({name for name, method in MATRIX if method != "GET"}))
    def test_changes_nothing_on_get_or_head(self, name, address_of, callers, web1, pending):
        callers["alice"].ask("GET", address_of(name))
        callers["alice"].ask("HEAD", address_of(name))
        assert Job.objects.count() == 1
        assert MachineRequest.objects.get().status == "PENDING"

    def test_does_not_tell_a_strangers_machine_from_none(self, address_of, callers):
        theirs = address_of("machine")
        none = reverse("api:machine", args=["00000000-0000-4000-8000-000000000000"])
        there, nowhere = (callers["charlie"].get(path, X_Request_Id="one") for path in (theirs, none))
        assert there.content == nowhere.content
        for verb in ("start", "console"):
            one, two = (
                callers["charlie"].post(f"{path}{verb}/", X_Request_Id="one") for path in (theirs, none)
            )
            assert (one.status_code, one.content) == (two.status_code, two.content)

    def test_does_not_believe_a_method_from_a_header_or_field(self, address_of, callers):
        path = address_of("machine")
        answer = callers["alice"].post(path, X_HTTP_Method_Override="DELETE")
        assert answer.status_code == 405
        form = callers["alice"].post(
            path, b"_method=DELETE", Content_Type="application/x-www-form-urlencoded"
        )
        assert form.status_code == 405
        assert Machine.objects.get().state == "READY"


class TestToken:
    @pytest.mark.parametrize(
        "header", ["Bearer", "Bearer ", "Bearer wx_wrong", "Bearer \x7f\xff", "bearer wx_" + "a" * 5000]
    )
    def test_is_refused_when_it_is_not_one_of_ours(self, header, db):
        answer = Caller().get("me/", Authorization=header)
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"].startswith("Bearer")
        assert answer.json()["code"] == "NOT_AUTHENTICATED"

    def test_of_another_scheme_is_nobody(self, db):
        assert Caller().get("me/", Authorization="Basic YWxpY2U6cHc=").status_code == 401

    def test_opens_nothing_after_it_was_revoked(self, as_alice):
        token_id = as_alice.get("tokens/").json()["results"][0]["id"]
        assert as_alice.ask("DELETE", f"tokens/{token_id}/").status_code == 204
        assert as_alice.get("me/").status_code == 401

    def test_opens_nothing_once_its_person_is_gone(self, as_alice, alice):
        User.objects.filter(id=alice.id).update(is_active=False)
        assert as_alice.get("me/").status_code == 401

    def test_of_charlie_shows_charlie(self, as_charlie):
        assert as_charlie.get("me/").json()["username"] == "charlie"

    def test_in_the_address_is_not_looked_at(self, as_alice, db):
        secret = as_alice.headers["Authorization"].split()[1]
        assert Caller().get(f"me/?token={secret}").status_code == 401


class TestSession:
    def test_may_look(self, alice, client):
        client.force_login(alice)
        assert client.get("/api/v1/me/").json()["username"] == "alice"

    def test_needs_the_csrf_token_to_change_anything(self, alice, lab, minimal, small):
        from django.test import Client

        client = Client(enforce_csrf_checks=True)
        client.force_login(alice)
        wish = {"name": "web9", "image": "minimal", "size": "small"}
        for kind in ("application/json", "text/plain"):
            answer = client.post("/api/v1/requests/", json.dumps(wish), content_type=kind)
            assert answer.status_code == 403
            assert answer.json()["code"] == "FORBIDDEN"
        assert not MachineRequest.objects.exists()
