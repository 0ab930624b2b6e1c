"""Asking for more quota, and the yes or no to it by somebody else."""

import threading

import pytest
from django.db import IntegrityError, connection, transaction

from webxen.approvals import operations, queries, quota_increase
from webxen.approvals.models import QuotaRequest
from webxen.core.errors import ForbiddenError, InvalidError, NotFoundError
from webxen.core.models import AuditEntry
from webxen.quotas import operations as quotas
from webxen.quotas import queries as quota_queries
from webxen.quotas.shortage import Figures, RunningLimit

ASKED = {"project": "lab", "reason": "for the exhibition", "vcpus": 20, "memory_mib": 8192}


@pytest.fixture
def ask(lab, alice, now):
    def ask(user=alice, **changed):
        wish = quota_increase.parse(untrusted={**ASKED, **changed}, user=user)
        return operations.ask_for_quota(user=user, wish=wish, now=now)

    return ask


def limit(project):
    return quota_queries.headroom(project=project).limit


class TestAsk:
    def test_waits_and_grants_nothing_yet(self, ask, lab):
        request = ask()
        assert (request.status, request.version) == ("PENDING", 1)
        assert quota_increase.figures_of(request) == {
            "machines": 10,
            "vcpus": 20,
            "memory_mib": 8192,
            "disk_gib": 100,
            "running_vcpus": None,
            "running_memory_mib": None,
        }
        assert limit(lab) == Figures(10, 16, 4096, 100)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("vcpus", -1),
            ("vcpus", 1),
            ("vcpus", 10**9),
            ("vcpus", True),
            ("vcpus", "20"),
            ("memory_mib", 1.5),
            ("running_vcpus", 4),
            ("project", "elsewhere"),
            ("project", 7),
            ("reason", " "),
            ("reason", "a\0b"),
            ("status", "APPROVED"),
        ],
    )
    def test_refuses_nonsense_field_by_field(self, ask, elsewhere, field, value):
        with pytest.raises(InvalidError) as caught:
            ask(**{field: value})
        assert set(caught.value.fields) == {field}
        assert not QuotaRequest.objects.exists()

    def test_refuses_what_the_project_has(self, ask):
        with pytest.raises(InvalidError) as caught:
            ask(vcpus=16, memory_mib=4096)
        assert set(caught.value.fields) == {"non_field_errors"}

    def test_one_waits_at_a_time_for_each_person(self, ask, bob):
        ask()
        with pytest.raises(operations.QuotaRequestOpenError):
            ask()
        assert ask(user=bob).requester == bob

    def test_charlie_has_no_seat(self, ask, charlie, elsewhere, lab, alice, now):
        with pytest.raises(InvalidError):
            ask(user=charlie)
        wish = quota_increase.parse(untrusted=ASKED, user=alice)
        with pytest.raises(NotFoundError):
            operations.ask_for_quota(user=charlie, wish=wish, now=now)


class TestApprove:
    def test_grants_exactly_what_the_row_says(self, ask, lab, dana, now):
        done = operations.approve_quota(staff=dana, request_id=ask().id, version=1, now=now)
        assert (done.status, done.decided_by) == ("APPROVED", dana)
        assert limit(lab) == Figures(10, 20, 8192, 100)
        assert AuditEntry.objects.filter(action="APPROVED_QUOTA_REQUEST", actor=dana).count() == 1

    def test_takes_nothing_away_that_was_granted_meanwhile(self, ask, lab, dana, now):
        request = ask()
        quotas.set_limits(project=lab, limits=Figures(12, 30, 4096, 100), staff=dana, now=now)
        operations.approve_quota(staff=dana, request_id=request.id, version=1, now=now)
        assert limit(lab) == Figures(12, 30, 8192, 100)

    def test_lifts_the_limit_of_what_runs(self, ask, lab, dana, now):
        quotas.set_limits(project=lab, limits=limit(lab), running=RunningLimit(4, None), staff=dana, now=now)
        request = ask(running_vcpus=8)
        operations.approve_quota(staff=dana, request_id=request.id, version=1, now=now)
        assert quota_queries.headroom(project=lab).running_limit == RunningLimit(8, None)

    def test_not_by_the_one_who_asked_even_of_staff(self, ask, lab, alice, now):
        request = ask()
        alice.is_staff = True
        alice.save()
        with pytest.raises(ForbiddenError):
            operations.approve_quota(staff=alice, request_id=request.id, version=1, now=now)
        assert limit(lab).vcpus == 16

    def test_the_database_knows_that_too(self, ask, alice):
        request = ask()
        with pytest.raises(IntegrityError, match="nobody_grants"), transaction.atomic():
            QuotaRequest.objects.filter(id=request.id).update(status="APPROVED", decided_by=alice)

    def test_not_twice(self, ask, dana, now):
        request = ask()
        operations.approve_quota(staff=dana, request_id=request.id, version=1, now=now)
        with pytest.raises(operations.RequestDecidedError, match="already approved"):
            operations.approve_quota(staff=dana, request_id=request.id, version=1, now=now)

    def test_not_what_was_changed_after_the_look(self, ask, lab, alice, dana, now):
        request = ask()
        wish = quota_increase.parse(
            untrusted={"reason": "more", "vcpus": 9000}, user=alice, project=request.project
        )
        changed = operations.change_quota_request(user=alice, request_id=request.id, wish=wish, now=now)
        assert (changed.version, changed.vcpus) == (2, 9000)
        with pytest.raises(operations.RequestChangedError):
            operations.approve_quota(staff=dana, request_id=request.id, version=1, now=now)
        assert limit(lab).vcpus == 16
        operations.approve_quota(staff=dana, request_id=request.id, version=2, now=now)
        assert limit(lab).vcpus == 9000

    def test_bob_and_charlie_cannot(self, ask, bob, charlie, now):
        request = ask()
        for person, refusal in ((bob, ForbiddenError), (charlie, NotFoundError)):
            with pytest.raises(refusal):
                operations.approve_quota(staff=person, request_id=request.id, version=1, now=now)


class TestOtherEnds:
    def test_reject_keeps_the_words_and_grants_nothing(self, ask, lab, dana, now):
        done = operations.reject_quota(staff=dana, request_id=ask().id, reason="Not this year.", now=now)
        assert (done.status, done.decision_reason) == ("REJECTED", "Not this year.")
        assert limit(lab).vcpus == 16

    def test_withdraw_is_for_the_one_who_asked(self, ask, alice, bob, charlie, now):
        request = ask()
        for person, refusal in ((bob, ForbiddenError), (charlie, NotFoundError)):
            with pytest.raises(refusal):
                operations.withdraw_quota(user=person, request_id=request.id, now=now)
        assert operations.withdraw_quota(user=alice, request_id=request.id, now=now).status == "WITHDRAWN"
        assert ask().status == "PENDING"

    def test_what_is_decided_cannot_be_changed(self, ask, alice, bob, charlie, now):
        request = ask()
        wish = quota_increase.parse(
            untrusted={"reason": "x", "vcpus": 99}, user=alice, project=request.project
        )
        for person, refusal in ((bob, ForbiddenError), (charlie, NotFoundError)):
            with pytest.raises(refusal):
                operations.change_quota_request(user=person, request_id=request.id, wish=wish, now=now)
        operations.withdraw_quota(user=alice, request_id=request.id, now=now)
        with pytest.raises(operations.RequestDecidedError):
            operations.change_quota_request(user=alice, request_id=request.id, wish=wish, now=now)

    def test_a_stranger_sees_none(self, ask, alice, charlie, dana):
        ask()
        assert queries.quota_requests_visible_to(user=alice).count() == 1
        assert queries.quota_requests_visible_to(user=charlie).count() == 0
        assert queries.waiting_for_quota(user=dana).count() == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_eight_approvals_at_once_are_one(ask, lab, dana, now):
    request, outcomes = ask(), []

    def approve():
        try:
            operations.approve_quota(staff=dana, request_id=request.id, version=1, now=now)
            outcomes.append("granted")
        except operations.RequestDecidedError:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=approve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(outcomes) == ["granted"] + ["refused"] * 7
    assert AuditEntry.objects.filter(action="RAISE_QUOTA").count() == 1
