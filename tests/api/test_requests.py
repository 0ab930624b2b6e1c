"""Asking for a machine by API, the issue of bad input above all."""

import json
from typing import Any

import pytest

from webxen.approvals.models import MachineRequest
from webxen.inventory.models import Host
from webxen.jobs.models import Job
from webxen.machines.models import Machine

WISH = {"name": "web1", "image": "minimal", "size": "small"}
FIGURES = {"name": "web1", "image": "minimal", "vcpus": 1, "memory_mib": 256, "disk_gib": 1}


@pytest.fixture(autouse=True)
def things(lab: Any, minimal: Any, small: Any, lan: Any, xen1: Any) -> None:
    """alice's project, something to make a machine of, and a host for it."""


def nothing_happened() -> bool:
    return not (MachineRequest.objects.exists() or Machine.objects.exists() or Job.objects.exists())


class TestAsk:
    def test_is_approved_at_once_inside_quota_and_policy(self, as_alice, mailbox):
        answer = as_alice.post("requests/", WISH)
        assert answer.status_code == 201, answer.json()
        made = answer.json()
        assert answer["Location"].endswith(f"/api/v1/requests/{made['id']}/")
        assert made["status"] == "APPROVED"
        assert made["why_pending"] is None
        job = as_alice.get(f"jobs/{made['job']}/").json()
        assert (job["kind"], job["status"], job["machine"], job["host"]) == (
            "CREATE",
            "QUEUED",
            made["machine"],
            "xen1",
        )

    def test_waits_for_staff_over_quota_and_says_the_exact_shortage(self, as_alice):
        answer = as_alice.post("requests/", {**FIGURES, "memory_mib": 6144})
        assert answer.status_code == 201
        assert answer.json()["status"] == "PENDING"
        assert "2 GiB of memory over quota" in answer.json()["why_pending"]
        assert answer.json()["machine"] is None

    def test_that_no_host_has_room_for_is_approved_and_waits(self, as_alice):
        Host.objects.update(memory_mib=100)
        made = as_alice.post("requests/", WISH).json()
        assert made["status"] == "APPROVED"
        machine = as_alice.get(f"machines/{made['machine']}/").json()
        assert (machine["state"], machine["host"]) == ("PENDING", None)
        assert "xen1" in machine["state_reason"]
        job = as_alice.get(f"jobs/{made['job']}/").json()
        assert job["status"] == "PENDING"
        assert job["waiting_for"] == machine["state_reason"]

    def test_is_accepted_while_the_broker_is_away(self, as_alice, django_capture_on_commit_callbacks):
        # no mailbox fixture: nobody listens at the broker's address
        with django_capture_on_commit_callbacks(execute=True):
            answer = as_alice.post("requests/", WISH)
        assert answer.status_code == 201
        assert as_alice.get(f"jobs/{answer.json()['job']}/").json()["status"] == "QUEUED"

    def test_never_shows_a_password_again(self, as_alice):
        answer = as_alice.post("requests/", {**WISH, "password": "s3cret-canary-word"})
        assert answer.status_code == 201, answer.json()
        seen = answer.content + as_alice.get("requests/").content + as_alice.get("machines/").content
        assert b"canary" not in seen
        assert b"$6$" not in seen

    def test_of_another_persons_project_is_told_that_there_is_none(self, as_charlie, elsewhere):
        answer = as_charlie.post("requests/", {**WISH, "project": "lab"})
        assert answer.status_code == 400
        assert [one["message"] for one in answer.json()["errors"]["project"]] == ["There is no such project."]
        assert nothing_happened()


NAMES = [
    'x";bootloader="/bin/sh',
    "x';",
    "Domain-0",
    "domain-0",
    "dom0",
    "xen",
    "-h",
    "--help",
    "0",
    "007",
    "a--incoming",
    "a--migratedaway",
    "(null)",
    "a\x00b",
    "a\nb",
    "web1\n",
    "a\r",
    "a\u2028b",
    "a b",
    "A",
    "ä",
    "٣",
    "a-",
    "a" * 64,
    "",
    None,
    7,
    True,
    ["web1"],
    {"a": 1},
]


class TestBadInput:
    @pytest.mark.parametrize("name", NAMES)
    def test_in_the_name_is_refused_naming_the_rule(self, name, as_alice):
        answer = as_alice.post("requests/", {**WISH, "name": name})
        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/problem+json"
        (sentence,) = (one["message"] for one in answer.json()["errors"]["name"])
        assert len(sentence) > 10
        assert nothing_happened()

    @pytest.mark.parametrize("field", ["vcpus", "memory_mib", "disk_gib"])
    @pytest.mark.parametrize(
        "value",
        ["true", "1.5", "256.0", "NaN", "Infinity", "1e3", str(2**63), "-1", "0", '"256"', '"08"', "[]"],
    )
    def test_in_a_figure_is_refused(self, field, value, as_alice):
        body = json.dumps({**FIGURES, field: "HERE"}).replace('"HERE"', value).encode()
        answer = as_alice.post("requests/", body)
        assert answer.status_code == 400
        assert answer.json()["code"] in {"INVALID", "MALFORMED"}
        assert nothing_happened()

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"image": "no-such"}, "image"),
            ({"image": "../../etc/passwd"}, "image"),
            ({"image": 1}, "image"),
            ({"size": "enormous"}, "size"),
            ({"network": "xenbr0"}, "network"),
            ({"network": "lan,script=/tmp/x"}, "network"),
            ({"ssh_keys": "ssh-ed25519 AAAA"}, "ssh_keys"),
            ({"ssh_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, "ssh_keys"),
            ({"ssh_keys": ['command="/bin/sh" ssh-ed25519 AAAA']}, "ssh_keys"),
            ({"password": 12345678}, "password"),
            ({"password": "a\nb:root:0"}, "password"),
            ({"user_data": "x" * 20_000}, "user_data"),
            ({"reason": "a\x00b"}, "reason"),
            ({"reason": {}}, "reason"),
            ({"host": "xen1"}, "host"),
            ({"owner": "dana"}, "owner"),
            ({"state": "READY"}, "state"),
            ({"mac": "00:16:3e:00:00:01"}, "mac"),
            ({"is_staff": True}, "is_staff"),
            ({"approved_by": 1}, "approved_by"),
        ],
    )
    def test_in_another_field_is_refused_beside_it(self, changed, field, as_alice):
        answer = as_alice.post("requests/", {**WISH, **changed})
        assert answer.status_code == 400
        assert list(answer.json()["errors"]) == [field]
        assert nothing_happened()

    def test_tells_every_wrong_field_at_once(self, as_alice):
        answer = as_alice.post("requests/", {"name": "007", "image": "none", "size": "none", "x": 1})
        assert set(answer.json()["errors"]) == {"name", "image", "size", "x"}

    @pytest.mark.parametrize(
        ("body", "headers", "status", "code"),
        [
            (b"{", {}, 400, "MALFORMED"),
            (b'{"name": "a", "name": "b"}', {}, 400, "MALFORMED"),
            (b'{"name": "\\ud800"}', {}, 400, "MALFORMED"),
            (b"[" * 10_000, {}, 400, "MALFORMED"),
            (b"[]", {}, 400, "INVALID"),
            (b'"text"', {}, 400, "INVALID"),
            (b"null", {}, 400, "INVALID"),
            (b"{}", {"Content_Type": "text/plain"}, 415, "NOT_JSON"),
            (b"name=web1", {"Content_Type": "application/x-www-form-urlencoded"}, 415, "NOT_JSON"),
            (b"{}", {"Content_Type": "application/xml"}, 415, "NOT_JSON"),
            (b" " * 300_000, {}, 413, "TOO_LARGE"),
            (b"", {"Content_Length": "", "Transfer_Encoding": "chunked"}, 411, "LENGTH_REQUIRED"),
        ],
    )
    def test_in_the_body_itself_is_a_problem_and_no_500(self, body, headers, status, code, as_alice):
        answer = as_alice.post("requests/", body, **headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert nothing_happened()


class TestDecide:
    @pytest.fixture
    def pending(self, as_alice: Any) -> str:
        made = as_alice.post("requests/", {**FIGURES, "memory_mib": 6144, "reason": "A build."}).json()
        return f"requests/{made['id']}/"

    def test_yes_without_quota_is_refused_with_the_exact_shortage(self, as_dana, pending):
        answer = as_dana.post(f"{pending}approve/")
        assert (answer.status_code, answer.json()["code"]) == (409, "QUOTA_EXCEEDED")
        assert "2 GiB of memory over quota" in answer.json()["detail"]
        assert as_dana.get(pending).json()["status"] == "PENDING"
        assert not Job.objects.exists()

    def test_yes_makes_the_job(self, as_dana, pending):
        answer = as_dana.post(f"{pending}approve/", {"raise_quota": True, "host": "xen1"})
        assert answer.status_code == 202, answer.json()
        done = answer.json()
        assert (done["status"], done["decided_by"]) == ("APPROVED", "dana")
        assert answer["Location"].endswith(f"/jobs/{done['job']}/")

    def test_yes_twice_is_refused(self, as_dana, pending):
        as_dana.post(f"{pending}approve/", {"raise_quota": True})
        answer = as_dana.post(f"{pending}approve/", {"raise_quota": True})
        assert (answer.status_code, answer.json()["code"]) == (409, "REQUEST_ALREADY_DECIDED")
        assert Job.objects.count() == 1

    @pytest.mark.parametrize(
        "body", [{"raise_quota": 1}, {"raise_quota": "true"}, {"host": 1}, {"hosts": "xen1"}, [1]]
    )
    def test_yes_with_bad_input_is_refused(self, body, as_dana, pending):
        assert as_dana.post(f"{pending}approve/", body).status_code == 400
        assert as_dana.get(pending).json()["status"] == "PENDING"

    @pytest.mark.parametrize("host", ["nowhere", "h;reboot", "-oProxyCommand=x"])
    def test_yes_on_a_host_that_is_none_is_refused(self, host, as_dana, pending):
        answer = as_dana.post(f"{pending}approve/", {"raise_quota": True, "host": host})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["host"])
        assert not Job.objects.exists()
        assert as_dana.get(pending).json()["status"] == "PENDING"

    def test_no_needs_a_reason_and_shows_it(self, as_dana, as_alice, pending):
        assert as_dana.post(f"{pending}reject/", {}).status_code == 400
        assert as_dana.post(f"{pending}reject/", {"reason": "  "}).status_code == 400
        assert as_dana.post(f"{pending}reject/", {"reason": 5}).status_code == 400
        assert as_dana.post(f"{pending}reject/", {"reason": "Not this year."}).status_code == 200
        seen = as_alice.get(pending).json()
        assert (seen["status"], seen["decision_reason"]) == ("REJECTED", "Not this year.")

    def test_oneself_is_not_possible(self, as_alice, pending):
        answer = as_alice.post(f"{pending}approve/", {"raise_quota": True})
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")

    def test_by_a_stranger_is_not_even_refused(self, as_charlie, pending):
        assert as_charlie.post(f"{pending}approve/").status_code == 404
        assert as_charlie.post(f"{pending}reject/", {"reason": "no"}).status_code == 404
        assert as_charlie.post(f"{pending}withdraw/").status_code == 404

    def test_taken_back_is_taken_back_once(self, as_alice, pending):
        assert as_alice.post(f"{pending}withdraw/").json()["status"] == "WITHDRAWN"
        assert as_alice.post(f"{pending}withdraw/").status_code == 409


class TestList:
    def test_shows_ones_projects_alone(self, as_alice, as_bob, as_charlie, as_dana):
        as_alice.post("requests/", WISH)
        seen = [
            len(who.get("requests/").json()["results"]) for who in (as_alice, as_bob, as_charlie, as_dana)
        ]
        assert seen == [1, 1, 0, 1]

    def test_takes_a_status(self, as_alice):
        as_alice.post("requests/", WISH)
        assert len(as_alice.get("requests/?status=APPROVED").json()["results"]) == 1
        assert as_alice.get("requests/?status=PENDING").json()["results"] == []
        assert as_alice.get("requests/?status=approved").status_code == 400
