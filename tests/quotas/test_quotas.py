"""The ledger: reserve, commit, release, and the exact shortage."""

from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from webxen.core.errors import ForbiddenError
from webxen.core.models import AuditEntry
from webxen.quotas import operations, queries
from webxen.quotas.models import Quota, Reservation
from webxen.quotas.shortage import Figures, Headroom, describe_shortage


def take(project, now, vcpus=1, memory_mib=1024, disk_gib=10):
    holder = uuid4()
    operations.reserve(
        project=project, holder=holder, vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib, now=now
    )
    return holder


class TestReserve:
    def test_takes_from_the_quota(self, lab, now):
        take(lab, now)
        assert queries.headroom(project=lab).reserved == Figures(1, 1, 1024, 10)

    def test_says_exactly_what_is_missing(self, lab, now):
        take(lab, now, memory_mib=4096)
        with pytest.raises(operations.QuotaExceededError) as caught:
            take(lab, now, memory_mib=2048)
        assert str(caught.value) == "2 GiB of memory over quota: 4 GiB of 4 GiB used"
        assert queries.headroom(project=lab).reserved == Figures(1, 1, 4096, 10)
        assert Reservation.objects.count() == 1

    def test_a_project_without_quota_may_have_nothing(self, lab, now):
        Quota.objects.all().delete()
        with pytest.raises(operations.QuotaExceededError, match="1 machine over quota: 0 of 0 used"):
            take(lab, now)

    def test_the_last_bit_fits(self, lab, now):
        take(lab, now, vcpus=16, memory_mib=4096, disk_gib=100)
        assert queries.headroom(project=lab).free == Figures(9, 0, 0, 0)

    def test_the_database_refuses_an_overdraft(self, lab):
        with pytest.raises(IntegrityError, match="no_more_than_its_quota"), transaction.atomic():
            Quota.objects.update(vcpus_reserved=17)


class TestRelease:
    def test_gives_back_once(self, lab, now):
        holder = take(lab, now)
        assert operations.commit(holder=holder, now=now)
        assert operations.release(holder=holder, now=now)
        assert not operations.release(holder=holder, now=now)
        assert queries.headroom(project=lab).reserved == Figures(0, 0, 0, 0)

    def test_a_stranger_to_the_ledger_gives_back_nothing(self, lab, now):
        take(lab, now)
        assert not operations.release(holder=uuid4(), now=now)
        assert not operations.commit(holder=uuid4(), now=now)

    def test_what_was_given_back_is_not_committed(self, lab, now):
        holder = take(lab, now)
        operations.release(holder=holder, now=now)
        assert not operations.commit(holder=holder, now=now)


class TestRaiseToFit:
    def test_lifts_each_limit_just_so_far(self, lab, dana, now):
        take(lab, now, memory_mib=4096)
        operations.raise_to_fit(project=lab, need=Figures(1, 1, 512, 1), staff=dana, now=now)
        assert queries.headroom(project=lab).limit == Figures(10, 16, 4608, 100)
        assert AuditEntry.objects.get(action="RAISE_QUOTA").actor == dana

    def test_alice_and_charlie_cannot(self, lab, alice, charlie, now):
        for person in (alice, charlie):
            with pytest.raises(ForbiddenError):
                operations.raise_to_fit(project=lab, need=Figures(99, 0, 0, 0), staff=person, now=now)
        assert queries.headroom(project=lab).limit.machines == 10


class TestVisible:
    def test_a_stranger_sees_no_quota(self, lab, elsewhere, alice, charlie, dana):
        assert [quota.project for quota in queries.visible_to(user=alice)] == [lab]
        assert [quota.project for quota in queries.visible_to(user=charlie)] == [elsewhere]
        assert queries.visible_to(user=dana).count() == 2


class TestShortage:
    def test_names_every_figure(self):
        room = Headroom(limit=Figures(2, 4, 1024, 10), reserved=Figures(2, 3, 1000, 5))
        assert describe_shortage(room, Figures(1, 2, 192, 6)) == (
            "1 machine over quota: 2 of 2 used; 1 vCPU over quota: 3 of 4 used;"
            " 168 MiB of memory over quota: 1000 MiB of 1 GiB used;"
            " 1 GiB of disk over quota: 5 GiB of 10 GiB used"
        )

    def test_says_nothing_where_it_fits(self):
        assert (
            describe_shortage(Headroom(Figures(1, 1, 1, 1), Figures(0, 0, 0, 0)), Figures(1, 1, 1, 1)) == ""
        )
