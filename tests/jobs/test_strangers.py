"""Domains that somebody made by hand: known by uuid, left alone, and told to who empties the host."""

from uuid import UUID

import pytest

from tests.fixtures import observe
from webxen.core.errors import InvalidError, NotFoundError
from webxen.core.models import AuditEntry
from webxen.diagnostics.verify import verify
from webxen.inventory.models import LeftAlone
from webxen.machines import foreign_domains
from worker import contract

MAIL, DB = UUID(int=1), UUID(int=2)


def domain(name, uuid):
    return contract.DomainSeen(name, str(uuid), 7, "RUNNING", 128, 1)


@pytest.fixture
def busy(xen1, now):
    observe(xen1, domains=(domain("mail", MAIL), domain("db", DB)), now=now)
    return xen1


def codes(now):
    found = verify(host="xen1", fixed_by=None, now=now).findings
    return [(one.code, one.machine) for one in found if one.code == "DOMAIN_UNKNOWN"]


class TestLeftAlone:
    def test_is_no_difference_any_more_and_is_one_again(self, busy, dana, now):
        assert codes(now) == [("DOMAIN_UNKNOWN", "db"), ("DOMAIN_UNKNOWN", "mail")]
        for _ in range(2):
            foreign_domains.leave_alone(staff=dana, host_id=busy.id, uuid=MAIL, now=now)
        assert codes(now) == [("DOMAIN_UNKNOWN", "db")]
        foreign_domains.watch_again(staff=dana, host_id=busy.id, uuid=MAIL, now=now)
        assert len(codes(now)) == 2
        told = AuditEntry.objects.filter(action__in=("LEAVE_DOMAIN_ALONE", "WATCH_DOMAIN_AGAIN"))
        assert [(one.action, one.detail) for one in told.order_by("id")] == [
            ("LEAVE_DOMAIN_ALONE", f"mail {MAIL}"),
            ("WATCH_DOMAIN_AGAIN", f"mail {MAIL}"),
        ]

    def test_only_what_is_there_and_not_ours_can_be(self, busy, dana, now, order_machine):
        job = order_machine("web1")
        observe(busy, domains=(domain("web1", job.machine_id), domain("mail", MAIL)), now=now)
        for uuid in (job.machine_id, UUID(int=9)):
            with pytest.raises(InvalidError, match="reports no domain"):
                foreign_domains.leave_alone(staff=dana, host_id=busy.id, uuid=uuid, now=now)
        with pytest.raises(NotFoundError):
            foreign_domains.watch_again(staff=dana, host_id=busy.id, uuid=MAIL, now=now)
        assert [one["domain"] for one in foreign_domains.strangers_on(busy)] == ["mail"]

    def test_is_not_for_alice_or_charlie(self, busy, alice, charlie, now):
        for person in (alice, charlie):
            for act in (foreign_domains.leave_alone, foreign_domains.watch_again):
                with pytest.raises(NotFoundError):
                    act(staff=person, host_id=busy.id, uuid=MAIL, now=now)
        assert not LeftAlone.objects.exists()

    def test_domains_without_a_uuid_are_not_one_that_runs_twice(self, busy, now):
        nameless = contract.DomainSeen("", "", 7, "RUNNING", 1, 1)
        observe(busy, domains=(nameless, contract.DomainSeen("x", "", 8, "RUNNING", 1, 1)), now=now)
        found = verify(host=None, fixed_by=None, now=now).findings
        assert "MACHINE_RUNS_TWICE" not in [one.code for one in found]
