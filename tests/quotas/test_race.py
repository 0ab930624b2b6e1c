"""Twenty people at once: never one machine more than the quota. The same on SQLite and on PostgreSQL."""

import threading
from uuid import uuid4

import pytest
from django.db import connection

from webxen.quotas import operations, queries
from webxen.quotas.models import Reservation
from webxen.quotas.shortage import Figures

THREADS = 20


def all_at_once(act, count=THREADS):
    """Run `act` in so many threads from one starting shot; what each returned, or its error."""
    outcomes, shot = [], threading.Barrier(count)

    def run():
        try:
            shot.wait(timeout=30)
            outcomes.append(act())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcomes.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(outcomes) == count
    return outcomes


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestRace:
    def test_reserves_exactly_what_there_is(self, lab, now):
        def take():
            return operations.reserve(
                project=lab, holder=uuid4(), vcpus=1, memory_mib=64, disk_gib=1, now=now
            )

        outcomes = all_at_once(take)
        refused = [item for item in outcomes if isinstance(item, operations.QuotaExceededError)]
        assert len(refused) == THREADS - 10
        assert Reservation.objects.count() == 10
        assert queries.headroom(project=lab).reserved == Figures(10, 10, 640, 10)

    def test_releases_once_however_many_try(self, lab, now):
        holder = uuid4()
        operations.reserve(project=lab, holder=holder, vcpus=1, memory_mib=64, disk_gib=1, now=now)
        outcomes = all_at_once(lambda: operations.release(holder=holder, now=now), count=8)
        assert sorted(map(str, outcomes)) == ["False"] * 7 + ["True"]
        assert queries.headroom(project=lab).reserved == Figures(0, 0, 0, 0)
