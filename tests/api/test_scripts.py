"""What programs rely on: the shape of refusals, addresses, keys, and parameters that are never ignored."""

from typing import Any

import pytest

from tests.api.conftest import Caller
from webxen.approvals.models import MachineRequest
from webxen.jobs.models import Job
from webxen.machines.models import Machine

OWN = {"image": "minimal", "size": None, "vcpus": 1, "memory_mib": 256, "disk_gib": 4}


@pytest.fixture
def running(web1: Machine) -> Machine:
    """A settled machine that runs."""
    Job.objects.filter(machine=web1).update(status="SUCCEEDED")
    Machine.objects.filter(id=web1.id).update(state="READY", power="RUNNING")
    web1.refresh_from_db()
    return web1


class TestParametersOfChanges:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("DELETE", "machines/{id}/?dry_run=true", None),
            ("POST", "machines/{id}/reboot/?force=true", None),
            ("PATCH", "machines/{id}/?x=1", {"description": "x"}),
            ("POST", "tokens/?wait=30", {"name": "x"}),
            ("PUT", "quotas/{project}/?force=1", {}),
        ],
    )
    def test_are_refused_and_nothing_is_done(
        self, running: Machine, as_alice: Caller, method: str, path: str, body: Any
    ) -> None:
        answer = as_alice.ask(method, path.format(id=running.id, project=running.project_id), body)
        assert answer.status_code == 400
        assert "There is no such parameter." in str(answer.json()["errors"])
        assert not Job.objects.filter(machine=running, status__in=Job.OPEN).exists()
        running.refresh_from_db()
        assert (running.state, running.description) == ("READY", "")


class TestBodies:
    @pytest.mark.parametrize(("method", "path"), [("POST", "poweroff/"), ("DELETE", "")])
    def test_null_is_no_body_where_there_are_no_fields(
        self, running: Machine, as_alice: Caller, method: str, path: str
    ) -> None:
        assert as_alice.ask(method, f"machines/{running.id}/{path}", b"null").status_code == 202

    @pytest.mark.parametrize(
        ("path", "body", "cure"),
        [("machines/{id}/reboot/", b"[]", "no body or {}"), ("tokens/", b"null", "a JSON object")],
    )
    def test_the_refusal_says_what_to_send(
        self, running: Machine, as_alice: Caller, path: str, body: bytes, cure: str
    ) -> None:
        answer = as_alice.post(path.format(id=running.id), body)
        assert (answer.status_code, cure in answer.json()["detail"]) == (400, True)

    def test_every_wrong_field_is_named_at_once(self, as_alice: Caller) -> None:
        answer = as_alice.post("tokens/", {"name": "", "foo": 1, "scopes": "read"})
        assert set(answer.json()["errors"]) == {"name", "foo", "scopes"}

    @pytest.mark.parametrize("tags", [[""], [1, "a"], ["a", {"b": 1}], ["x" * 41]])
    def test_errors_of_a_list_are_sentences_like_all_others(
        self, running: Machine, as_alice: Caller, tags: list[Any]
    ) -> None:
        errors = as_alice.ask("PATCH", f"machines/{running.id}/", {"tags": tags}).json()["errors"]
        assert all(set(one) == {"code", "params", "message"} for one in errors["tags"])
        assert errors["tags"][0]["message"].startswith("Item ")

    @pytest.mark.parametrize("machines", [[1], [True], [[]], [None], ["x"]])
    def test_a_number_is_no_id(self, as_dana: Caller, machines: list[Any]) -> None:
        assert as_dana.post("balance/", {"machines": machines}).status_code == 400


class TestNames:
    def test_a_taken_one_has_one_answer(self, web1: Machine, make_machine: Any, as_alice: Caller) -> None:
        make_machine("web2")
        asked = as_alice.post("requests/", {"name": "web1", "image": "minimal", "size": "small"})
        renamed = as_alice.ask("PATCH", f"machines/{web1.id}/", {"name": "web2"})
        for answer in (asked, renamed):
            assert (answer.status_code, answer.json()["code"]) == (409, "NAME_TAKEN")
            assert list(answer.json()["errors"]) == ["name"]

    def test_a_pending_request_reserves_its_name(
        self, lab: Any, minimal: Any, small: Any, as_alice: Caller
    ) -> None:
        first = as_alice.post("requests/", {**OWN, "name": "same", "if_over_quota": "ask"})
        assert first.json()["status"] == "PENDING", first.json()
        for _ in range(2):
            again = as_alice.post("requests/", {**OWN, "name": "same"})
            assert (again.status_code, again.json()["code"]) == (409, "NAME_TAKEN")
        assert MachineRequest.objects.count() == 1
        as_alice.post(f"requests/{first.json()['id']}/withdraw/")
        assert as_alice.post("requests/", {**OWN, "name": "same"}).status_code == 201

    def test_an_id_in_capitals_is_the_same_id(self, web1: Machine, as_alice: Caller) -> None:
        assert as_alice.get(f"machines/{str(web1.id).upper()}/").status_code == 200

    def test_a_host_is_called_by_its_name_or_id(self, web1: Machine, xen1: Any, as_dana: Caller) -> None:
        for called in ("xen1", str(xen1.id), str(xen1.id).upper()):
            assert as_dana.get(f"hosts/{called}/").json()["name"] == "xen1"
            found = as_dana.get(f"machines/?host={called}").json()["results"]
            assert [machine["name"] for machine in found] == ["web1"]
            assert as_dana.post(f"hosts/{called}/reject/").status_code == 409

    def test_a_host_that_is_not_there_is_said_to_be_not_there(
        self, pending: MachineRequest, xen1: Any, as_dana: Caller
    ) -> None:
        answer = as_dana.post(f"requests/{pending.id}/approve/", {"raise_quota": True, "host": "nope"})
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID")
        assert answer.json()["errors"] == {
            "host": [
                {
                    "code": "HOST_NOT_FOUND",
                    "params": {"name": "nope"},
                    "message": "There is no host named nope.",
                }
            ]
        }


class TestKeys:
    def test_a_delete_told_twice_is_done_once_and_answered_twice(
        self, running: Machine, as_alice: Caller
    ) -> None:
        first = as_alice.ask("DELETE", f"machines/{running.id}/", Idempotency_Key="k1")
        again = as_alice.ask("DELETE", f"machines/{running.id}/", Idempotency_Key="k1")
        assert (first.status_code, again.status_code) == (202, 202)
        assert (first.json(), first["Location"]) == (again.json(), again["Location"])
        assert again["Idempotency-Replayed"] == "true"

    @pytest.mark.parametrize("door", ["join", "refresh", "rotate-key"])
    def test_a_host_that_sends_one_is_told_what_is_wrong_with_its_body(self, db: None, door: str) -> None:
        answer = Caller().post(f"hosts/{door}/", {}, Idempotency_Key="k1")
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID")


class TestRefusals:
    def test_an_open_job_is_named_with_its_address(self, running: Machine, as_alice: Caller) -> None:
        job = as_alice.post(f"machines/{running.id}/reboot/").json()
        refused = as_alice.post(f"machines/{running.id}/shutdown/")
        assert refused.json()["code"] == "JOB_OPEN"
        assert refused.json()["job"] == job["id"]
        assert as_alice.get(refused.json()["job_url"]).json()["id"] == job["id"]

    def test_what_is_missing_of_a_quota_is_told_in_numbers(
        self, lab: Any, minimal: Any, small: Any, as_alice: Caller
    ) -> None:
        wish = {**OWN, "memory_mib": 8192, "vcpus": 2, "if_over_quota": "refuse", "name": "big"}
        refused = as_alice.post("requests/", wish)
        assert refused.json()["code"] == "QUOTA_EXCEEDED"
        assert refused.json()["shortage"] == {
            "memory_mib": {"needed": 8192, "reserved": 0, "limit": 4096, "missing": 4096}
        }

    @pytest.mark.parametrize(
        ("power", "action"), [("RUNNING", "start"), ("OFF", "shutdown"), ("OFF", "poweroff")]
    )
    def test_what_is_so_already_is_told_apart_from_what_cannot_be(
        self, running: Machine, as_alice: Caller, power: str, action: str
    ) -> None:
        Machine.objects.filter(id=running.id).update(power=power)
        assert as_alice.post(f"machines/{running.id}/{action}/").json()["code"] == "ALREADY_DONE"
        Machine.objects.filter(id=running.id).update(power="PAUSED")
        if action != "poweroff":
            assert as_alice.post(f"machines/{running.id}/{action}/").json()["code"] == "ACTION_REFUSED"

    def test_deleting_while_it_is_created_cancels_the_create(self, web1: Machine, as_alice: Caller) -> None:
        create = Job.objects.get(machine=web1)
        Job.objects.filter(id=create.id).update(status="RUNNING")
        Machine.objects.filter(id=web1.id).update(state="BUILDING")
        assert "delete" in as_alice.get(f"machines/{web1.id}/").json()["allowed_actions"]
        for _ in range(2):
            answer = as_alice.ask("DELETE", f"machines/{web1.id}/")
            assert (answer.status_code, answer.json()["id"]) == (202, str(create.id))
        create.refresh_from_db()
        assert create.cancel_asked_at is not None


class TestQuotas:
    def test_reserved_means_the_same_everywhere(
        self, running: Machine, as_alice: Caller, as_dana: Caller
    ) -> None:
        mine = as_alice.get("me/").json()["projects"][0]["quota"]
        listed = as_alice.get("quotas/").json()["results"][0]
        one = as_dana.get(f"quotas/{running.project_id}/").json()
        for name, figures in mine.items():
            for quota in (listed, one):
                assert {part: quota[name][part] for part in figures} == figures

    def test_nobody_raises_a_quota_for_a_request_of_their_own(
        self, pending: MachineRequest, dana: Any, as_dana: Caller
    ) -> None:
        MachineRequest.objects.filter(id=pending.id).update(requester=dana)
        answer = as_dana.post(f"requests/{pending.id}/approve/", {"raise_quota": True})
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


class TestStranger:
    def test_charlie_is_told_nothing_of_the_job_in_the_way(
        self, running: Machine, as_alice: Caller, as_charlie: Caller
    ) -> None:
        as_alice.post(f"machines/{running.id}/reboot/")
        refused = as_charlie.post(f"machines/{running.id}/shutdown/")
        assert (refused.status_code, "job" in refused.json()) == (404, False)


class TestDrain:
    def test_one_that_moved_nothing_is_incomplete(self, running: Machine, xen1: Any, as_dana: Caller) -> None:
        begun = as_dana.post("hosts/xen1/drain/")
        assert begun.status_code == 202
        said = as_dana.get(begun["Location"]).json()
        assert (said["status"], said["percent"], said["machines_left"]) == ("INCOMPLETE", 0, 1)

    def test_an_empty_host_is_done_at_once(self, xen1: Any, as_dana: Caller) -> None:
        said = as_dana.post("hosts/xen1/drain/").json()
        assert (said["status"], said["percent"], said["machines_left"]) == ("SUCCEEDED", 100, 0)

    def test_its_address_is_staffs(
        self, running: Machine, xen1: Any, as_dana: Caller, as_alice: Caller
    ) -> None:
        where = as_dana.post("hosts/xen1/drain/")["Location"]
        assert as_alice.get(where).status_code == 403
