"""Quotas by API: what is held, limits that staff lowers, and asking for more."""

from typing import Any

import pytest

from webxen.approvals.models import MachineRequest, QuotaRequest
from webxen.machines.models import Machine

LOW = {"machines": 1, "vcpus": 1, "memory_mib": 128, "disk_gib": 1}
WISH = {"name": "web2", "image": "minimal", "size": "small"}
MORE = {"reason": "for the exhibition", "vcpus": 20}


class TestLowered:
    def test_leaves_what_runs_and_refuses_more_and_shows_how_far_over(
        self, as_alice: Any, as_dana: Any, web1: Any, lab: Any
    ) -> None:
        answer = as_dana.ask("PUT", f"quotas/{lab.id}/", LOW)
        assert answer.status_code == 200, answer.json()
        refused = as_alice.post("requests/", WISH | {"if_over_quota": "refuse"})
        assert (refused.status_code, refused.json()["code"]) == (409, "QUOTA_EXCEEDED")
        assert "384 MiB of memory over quota: 256 MiB of 128 MiB used" in refused.json()["detail"]
        assert as_alice.get(f"machines/{web1.id}/").json()["power"] == "RUNNING"
        memory = as_alice.get(f"quotas/{lab.id}/").json()["memory_mib"]
        assert memory == {"limit": 128, "used": 256, "reserved": 0, "overdraft": 128}

    def test_is_for_staff(self, as_alice: Any, as_charlie: Any, lab: Any, elsewhere: Any) -> None:
        assert as_alice.ask("PUT", f"quotas/{lab.id}/", LOW).status_code == 403
        assert as_charlie.ask("PUT", f"quotas/{lab.id}/", LOW).status_code == 404
        assert as_charlie.get(f"quotas/{lab.id}/").status_code == 404

    @pytest.mark.parametrize("value", [-1, True, "4", 1.0, None, 10**12])
    def test_takes_whole_numbers_alone(self, as_dana: Any, lab: Any, value: object) -> None:
        answer = as_dana.ask("PUT", f"quotas/{lab.id}/", LOW | {"vcpus": value})
        assert answer.status_code == 400
        assert set(answer.json()["errors"]) == {"vcpus"}


class TestIfOverQuota:
    @pytest.fixture(autouse=True)
    def things(self, lab: Any, minimal: Any, small: Any, lan: Any, xen1: Any) -> None:
        """alice's project, and something to make a machine of."""

    def test_refuse_keeps_nothing(self, as_alice: Any) -> None:
        figures = {"vcpus": 1, "memory_mib": 6144, "disk_gib": 1}
        wish = {"name": "web2", "image": "minimal", **figures, "if_over_quota": "refuse"}
        answer = as_alice.post("requests/", wish)
        assert answer.status_code == 409
        assert "2 GiB of memory over quota" in answer.json()["detail"]
        assert not MachineRequest.objects.exists()
        assert not Machine.objects.exists()

    def test_refuse_changes_nothing_where_it_fits(self, as_alice: Any) -> None:
        assert as_alice.post("requests/", WISH | {"if_over_quota": "refuse"}).json()["status"] == "APPROVED"

    def test_is_one_of_two_words(self, as_alice: Any, as_charlie: Any, elsewhere: Any) -> None:
        for word in ("Refuse", "", 1, True, [], {}):
            answer = as_alice.post("requests/", WISH | {"if_over_quota": word})
            assert set(answer.json()["errors"]) == {"if_over_quota"}
        assert as_charlie.post("requests/", WISH | {"project": "lab"}).status_code == 400


class TestMore:
    def test_from_asking_to_the_grant(self, as_alice: Any, as_dana: Any, as_charlie: Any, lab: Any) -> None:
        made = as_alice.post("quota-requests/", MORE)
        assert made.status_code == 201, made.json()
        path = f"quota-requests/{made.json()['id']}/"
        assert made["Location"].endswith(path)
        assert as_charlie.post(f"{path}approve/", {"version": 1}).status_code == 404
        changed = as_alice.ask("PUT", path, MORE | {"vcpus": 30})
        assert changed.json()["version"] == 2
        stale = as_dana.post(f"{path}approve/", {"version": 1})
        assert (stale.status_code, stale.json()["code"]) == (409, "REQUEST_CHANGED")
        assert as_dana.post(f"{path}approve/", {"version": 2}).json()["status"] == "APPROVED"
        assert as_dana.post(f"{path}approve/", {"version": 2}).json()["code"] == "REQUEST_ALREADY_DECIDED"
        assert as_alice.get(f"quotas/{lab.id}/").json()["vcpus"]["limit"] == 30

    def test_staff_cannot_approve_itself(self, calls_as: Any, alice: Any, lab: Any) -> None:
        alice.is_staff = True
        alice.save()
        caller = calls_as(alice)
        made = caller.post("quota-requests/", MORE | {"project": "lab"}).json()
        answer = caller.post(f"quota-requests/{made['id']}/approve/", {"version": 1})
        assert answer.status_code == 403
        assert QuotaRequest.objects.get().status == "PENDING"

    @pytest.mark.parametrize("value", [-1, 10**9, 1.5, "20", True, 15])
    def test_absurd_figures_are_refused(self, as_alice: Any, lab: Any, value: object) -> None:
        answer = as_alice.post("quota-requests/", MORE | {"vcpus": value})
        assert answer.status_code == 400
        assert set(answer.json()["errors"]) == {"vcpus"}
