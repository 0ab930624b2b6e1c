"""A move over two hosts: who is asked what and when, whose word counts, and where the machine ends."""

import functools
from datetime import timedelta

import pytest

from tests.fixtures import heard_until
from tests.moves import domain, listens, show, tell, tell_cleaned
from webxen.core.errors import ForbiddenError, InvalidError, NotFoundError
from webxen.core.models import AuditEntry
from webxen.inventory.models import Host
from webxen.jobs import opening, operations, placing
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.migration import operations as migration
from webxen.migration.models import Move, MoveSide


@pytest.fixture
def posted(mailbox, django_capture_on_commit_callbacks):
    """What was posted to each host while something was done: kinds by host."""

    def post(act):
        with django_capture_on_commit_callbacks(execute=True):
            act()
        return {host: [order.kind for order in mailbox.orders(host)] for host in ("xen1", "xen2")}

    return post


def look_at(job):
    return Move.objects.get(job=job)


def reserved(host):
    return Host.objects.get(id=host.id).memory_reserved_mib


class TestAsking:
    def test_asks_the_target_first_and_the_source_once_it_listens(self, start_move, posted, mailbox):
        made = []
        assert posted(lambda: made.append(start_move())) == {"xen1": [], "xen2": ["RECEIVE"]}
        (job,) = made
        assert posted(lambda: listens(job)) == {"xen1": ["MIGRATE"], "xen2": []}
        assert look_at(job).phase == "MOVING"

    def test_orders_name_the_other_host_and_carry_one_fence(
        self, start_move, mailbox, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            job = start_move()
        with django_capture_on_commit_callbacks(execute=True):
            listens(job)
        (receive,), (migrate,) = mailbox.orders("xen2"), mailbox.orders("xen1")
        assert (receive.source, receive.certificate) == ("xen1", "certificate of xen1")
        assert (migrate.target, migrate.address, migrate.port) == ("xen2", "10.0.9.2", 4001)
        assert migrate.certificate == "certificate of xen2"
        assert receive.job_id == migrate.job_id == str(job.id)
        assert receive.fence == migrate.fence == job.machine.fence == 2

    def test_holds_memory_on_both_hosts_meanwhile(self, start_move, pair):
        start_move()
        assert [reserved(host) for host in pair] == [256, 256]

    def test_charlie_cannot(self, pair, web1, charlie, elsewhere, now):
        with pytest.raises(NotFoundError):
            migration.migrate_machine(user=charlie, machine_id=web1.id, host_name="xen2", now=now)
        assert not Move.objects.exists()

    def test_its_owner_cannot_either(self, pair, web1, alice, now):
        with pytest.raises(ForbiddenError):
            migration.migrate_machine(user=alice, machine_id=web1.id, host_name="xen2", now=now)

    def test_takes_the_host_that_placement_takes(self, start_move):
        assert look_at(start_move(host_name=None)).target.name == "xen2"

    @pytest.mark.parametrize(("host", "error"), [("xen1", InvalidError), ("nowhere", InvalidError)])
    def test_refuses_a_host_that_is_no_other(self, start_move, host, error):
        with pytest.raises(error):
            start_move(host_name=host)

    def test_refuses_a_host_that_does_not_fit_and_says_why(self, start_move, pair, web1):
        show(pair[1], bridges=())
        with pytest.raises(placing.NoRoomError, match="It has no bridge xenbr0"):
            start_move()

    def test_refuses_a_machine_that_is_paused(self, start_move, web1):
        Machine.objects.filter(id=web1.id).update(power="PAUSED")
        with pytest.raises(opening.ActionRefusedError, match=r"now: migrate\. The machine is paused"):
            start_move()

    def test_a_pv_guest_is_suspended_and_never_live(self, start_move, web1):
        Machine.objects.filter(id=web1.id).update(config="type = 'pv'")
        with pytest.raises(opening.ActionRefusedError, match="no shadow paging"):
            start_move(method="LIVE")
        assert look_at(start_move()).method == "SUSPENDED"

    def test_nothing_else_may_be_asked_meanwhile(self, start_move, web1, alice, now):
        start_move()
        for verb in (
            functools.partial(operations.act, action="poweroff"),
            operations.delete_machine,
            functools.partial(operations.act, action="reboot"),
        ):
            with pytest.raises(operations.JobOpenError):
                verb(user=alice, machine_id=web1.id, now=now)


class TestQueue:
    @pytest.fixture
    def second(self, order_machine, pair):
        from tests.fixtures import report

        job = order_machine("web2", host_name="xen1")
        report(job, "SUCCEEDED", power="RUNNING")
        machine = Machine.objects.get(id=job.machine_id)
        Machine.objects.filter(id=machine.id).update(config="type = 'pvh'")
        return machine

    def test_one_leaves_a_host_at_a_time_and_the_next_says_why_it_waits(self, start_move, second, now):
        first = start_move()
        job = start_move(machine_id=second.id)
        assert look_at(job).phase == "WAITING"
        assert job.waiting_for == "xen1 is already sending another machine (limit: 1 at a time)."
        operations.sweep(now=now)
        assert look_at(job).phase == "WAITING"
        tell(first, "TARGET", "FAILED", error_code="X", facts={"closed": True, "domains": ()})
        tell_cleaned(first, "TARGET")
        assert first.status == "FAILED"
        operations.sweep(now=now)
        assert look_at(job).phase == "PREPARING"

    def test_more_at_a_time_where_it_is_set_so(self, start_move, second, settings):
        settings.WEBXEN_MOVES_PER_HOST = 2
        start_move()
        assert look_at(start_move(machine_id=second.id)).phase == "PREPARING"

    def test_one_that_waits_is_taken_back_at_once(self, start_move, second, dana, pair, now):
        start_move()
        job = start_move(machine_id=second.id)
        assert operations.cancel_job(user=dana, job_id=job.id, now=now).status == "CANCELLED"
        assert look_at(job).phase == "ENDED"
        assert reserved(pair[1]) == 256  # the first one's


READY = {"go_passed": True, "closed": True, "phase": "REPORTED"}


class TestGoodEnd:
    @pytest.fixture
    def moved(self, start_move, web1):
        job = start_move()
        listens(job)
        tell(
            job,
            "SOURCE",
            "STEP",
            step="STREAM",
            progress=40,
            facts={"bytes_sent": 128 << 20, "rate_mib_s": 90.0},
        )
        assert (job.status, job.progress, job.step) == ("RUNNING", 40, "STREAM")
        tell(job, "TARGET", "SUCCEEDED", facts=READY | {"domains": (domain(web1, seconds=0.1),)})
        assert look_at(job).phase == "MOVING"
        tell(job, "SOURCE", "SUCCEEDED", facts=READY | {"domains": ()})
        return job

    def test_the_machine_has_its_new_host_with_the_jobs_end(self, moved, web1, pair):
        web1.refresh_from_db()
        assert (moved.status, moved.progress) == ("SUCCEEDED", 100)
        assert (web1.host, web1.power) == (pair[1], "RUNNING")
        assert (look_at(moved).verdict, look_at(moved).phase) == ("MOVED", "ENDED")

    def test_it_may_go_back_at_once(self, moved, start_move, web1, pair):
        assert [seen["uuid"] for seen in Host.objects.get(id=pair[0].id).domains] == []
        show(pair[1], domain(web1))  # its home has seen it; of where it was, nothing newer is known
        assert start_move(host_name="xen1").status == "QUEUED"

    def test_memory_is_held_where_it_is_and_nowhere_else(self, moved, pair):
        assert [reserved(host) for host in pair] == [0, 256]

    def test_leaves_its_line_in_the_audit(self, moved, dana):
        assert AuditEntry.objects.get(action="MIGRATE_SUCCEEDED").detail == "from xen1 to xen2"

    def test_late_news_moves_nothing(self, moved, web1, pair):
        assert not tell(moved, "SOURCE", "FAILED", error_code="X")
        web1.refresh_from_db()
        assert (moved.status, web1.host) == ("SUCCEEDED", pair[1])


class TestWhoseWord:
    def test_a_third_host_is_not_heard(self, start_move, now):
        job = start_move()
        other = Host.objects.create(name="xen9", public_key="x", created_at=now)
        assert not tell(job, "TARGET", "SUCCEEDED", host=other, facts=READY)

    def test_a_host_speaks_for_its_own_side_alone(self, start_move, pair, web1, now):
        from webxen.jobs import operations
        from worker import contract

        job = start_move()
        facts = contract.MoveFacts(job_id=str(job.id), side="SOURCE", closed=True)
        said = contract.Report(str(job.id), str(web1.id), "FAILED", sequence=9, move=facts)
        assert not operations.apply_report(host=pair[1], report=said, now=now)
        assert set(MoveSide.objects.values_list("end", flat=True)) == {""}

    def test_each_side_counts_for_itself(self, start_move):
        job = start_move()
        assert listens(job, phase="NONE")
        assert tell(job, "SOURCE", "STEP", sequence=0, step="STREAM", progress=5)
        assert not tell(job, "SOURCE", "STEP", sequence=0, step="STREAM", progress=9)

    def test_what_a_relay_once_wrote_down_stays_true(self, start_move):
        job = start_move()
        listens(job)
        tell(job, "SOURCE", "STEP", facts={"go_passed": True})
        tell(job, "SOURCE", "STEP", facts={"go_passed": False})
        assert MoveSide.objects.get(side="SOURCE").facts["go_passed"] is True


class TestBadEnd:
    def test_a_target_that_refuses_costs_nothing(self, start_move, posted, web1, pair):
        job = start_move()
        sent = posted(
            lambda: tell(
                job,
                "TARGET",
                "FAILED",
                error_code="NO_MEMORY",
                error_message="It has not enough memory.",
                facts={"closed": True, "domains": ()},
            )
        )
        # it takes back what it prepared; the source was never asked and is not told
        assert (sent["xen1"], sent["xen2"][-1]) == ([], "SETTLE_MOVE")
        tell_cleaned(job, "TARGET")
        web1.refresh_from_db()
        assert (job.status, job.error_code) == ("FAILED", "NO_MEMORY")
        assert job.error_message == "web1 stayed on xen1. It has not enough memory."
        assert (web1.host, web1.power) == (pair[0], "RUNNING")
        assert [reserved(host) for host in pair] == [256, 0]

    def test_cut_in_the_stream_it_stays_and_both_clean_up(self, start_move, posted, web1):
        job = start_move()
        listens(job)
        tell(job, "TARGET", "FAILED", facts={"closed": True, "phase": "STREAM", "domains": ()})
        sent = posted(
            lambda: tell(
                job, "SOURCE", "FAILED", error_code="CUT", facts={"closed": True, "domains": (domain(web1),)}
            )
        )
        assert sent["xen1"][-1:] == sent["xen2"][-1:] == ["SETTLE_MOVE"]
        tell_cleaned(job, "TARGET")
        assert job.status == "RUNNING"
        tell_cleaned(job, "SOURCE")
        assert (job.status, look_at(job).verdict) == ("FAILED", "STAYED")

    def test_go_handed_over_and_not_started_the_target_starts_it_before_the_source_lets_go(
        self, start_move, web1, posted
    ):
        job = start_move()
        listens(job)
        held = domain(web1, "PAUSED", suffix="--incoming", seconds=0.0)
        away = domain(web1, "SUSPENDED", suffix="--migratedaway")
        tell(job, "TARGET", "FAILED", facts=READY | {"phase": "GO", "domains": (held,)})
        sent = posted(lambda: tell(job, "SOURCE", "FAILED", facts=READY | {"domains": (away,)}))
        assert (sent["xen1"], sent["xen2"][-1]) == ([], "SETTLE_MOVE")
        sent = posted(lambda: tell_cleaned(job, "TARGET", facts=READY | {"domains": (domain(web1),)}))
        assert (sent["xen1"], job.status) == (["SETTLE_MOVE"], "RUNNING")
        tell_cleaned(job, "SOURCE", facts=READY | {"domains": ()})
        web1.refresh_from_db()
        assert (job.status, web1.host.name, web1.power) == ("SUCCEEDED", "xen2", "RUNNING")

    def test_a_source_that_is_gone_after_the_go_is_cleaned_when_it_is_back(self, start_move, pair, web1, now):
        job = start_move()
        listens(job)
        tell(job, "SOURCE", "STEP", facts={"go_passed": True, "domains": (domain(web1, "SUSPENDED"),)})
        later = now + timedelta(seconds=40)
        show(pair[1], domain(web1), now=later)
        tell(job, "TARGET", "SUCCEEDED", facts=READY | {"domains": (domain(web1, seconds=2.0),)}, now=later)
        operations.sweep(now=later)
        job.refresh_from_db()
        assert (job.status, Machine.objects.get(id=web1.id).host) == ("SUCCEEDED", pair[1])
        source = MoveSide.objects.get(side="SOURCE")
        assert source.cleaning == "ASKED"
        show(pair[0], domain(web1, "SUSPENDED", suffix="--migratedaway"), now=later + timedelta(seconds=60))
        tell_cleaned(job, "SOURCE", facts=READY | {"domains": ()}, now=later + timedelta(seconds=61))
        assert MoveSide.objects.get(side="SOURCE").cleaning == "DONE"


class TestUnknown:
    @pytest.fixture
    def lost(self, start_move, pair, web1, now):
        """The GO left the source, and then the target fell silent."""
        job = start_move()
        listens(job)
        away = domain(web1, "SUSPENDED", suffix="--migratedaway")
        later = now + timedelta(seconds=60)
        show(pair[0], away, now=later)
        tell(job, "SOURCE", "FAILED", error_code="CUT", facts=READY | {"domains": (away,)}, now=later)
        operations.sweep(now=later)
        job.refresh_from_db()
        return job

    def test_starts_nothing_and_says_what_is_missing(self, lost, web1, pair):
        web1.refresh_from_db()
        assert (lost.status, look_at(lost).phase) == ("RUNNING", "UNKNOWN")
        assert look_at(lost).why == "The target cannot be seen, and the switch-over may have reached it."
        assert (web1.power, web1.host) == ("UNKNOWN", pair[0])
        assert set(MoveSide.objects.values_list("cleaning", flat=True)) == {""}

    def test_cannot_be_taken_back(self, lost, dana, now):
        with pytest.raises(operations.TooLateError):
            operations.cancel_job(user=dana, job_id=lost.id, now=now)

    def test_settles_by_itself_once_the_target_is_back(self, lost, pair, web1, now):
        back = now + timedelta(seconds=90)
        show(pair[1], domain(web1, seconds=30.0), now=back)
        show(pair[0], domain(web1, "SUSPENDED", suffix="--migratedaway"), now=back)
        ran = READY | {"domains": (domain(web1, seconds=30.0),)}
        tell(lost, "TARGET", "FAILED", error_code="WORKER_DIED", facts=ran, now=back)
        assert look_at(lost).phase == "SETTLING"
        tell_cleaned(lost, "SOURCE", facts=READY | {"domains": ()}, now=back)
        tell_cleaned(lost, "TARGET", facts=ran, now=back)
        web1.refresh_from_db()
        assert (lost.status, web1.host, web1.power) == ("SUCCEEDED", pair[1], "RUNNING")

    def test_three_refusals_of_the_verdict_leave_it_to_a_person(self, start_move, web1, dana, now):
        job = start_move()
        tell(job, "TARGET", "FAILED", facts={"closed": True, "domains": ()})
        for _ in range(3):
            assert MoveSide.objects.get(side="TARGET").cleaning == "ASKED"
            tell_cleaned(job, "TARGET", "FAILED", error_message="Something else is here.")
        assert look_at(job).phase == "UNKNOWN"
        operations.sweep(now=now)
        assert MoveSide.objects.get(side="TARGET").cleaning == ""
        migration.recheck(user=dana, job_id=job.id, now=now)
        assert MoveSide.objects.get(side="TARGET").cleaning == "ASKED"
        assert AuditEntry.objects.filter(action="LOOK_AGAIN", actor=dana).exists()

    def test_charlie_has_no_button(self, lost, charlie, elsewhere, alice, now):
        with pytest.raises(NotFoundError):
            migration.recheck(user=charlie, job_id=lost.id, now=now)
        with pytest.raises(ForbiddenError):
            migration.recheck(user=alice, job_id=lost.id, now=now)


class TestCancel:
    def test_before_the_go_the_host_at_work_is_told(self, start_move, posted, dana, now, web1):
        job = start_move()
        listens(job)
        sent = posted(lambda: operations.cancel_job(user=dana, job_id=job.id, now=now))
        assert sent["xen1"][-1] == "CANCEL"
        tell(job, "SOURCE", "CANCELLED", facts={"closed": True, "domains": (domain(web1),)})
        tell(job, "TARGET", "FAILED", facts={"closed": True, "domains": ()})
        tell_cleaned(job, "TARGET")
        tell_cleaned(job, "SOURCE")
        assert (job.status, look_at(job).verdict) == ("CANCELLED", "STAYED")

    def test_after_the_go_it_is_refused_with_the_reason(self, start_move, dana, now):
        job = start_move()
        listens(job)
        tell(job, "SOURCE", "STEP", facts={"go_passed": True})
        with pytest.raises(operations.TooLateError, match="cannot be cancelled"):
            operations.cancel_job(user=dana, job_id=job.id, now=now)

    def test_too_late_by_a_moment_is_shown_and_the_move_goes_on(self, start_move, dana, now, web1):
        job = start_move()
        listens(job)
        operations.cancel_job(user=dana, job_id=job.id, now=now)
        tell(job, "SOURCE", "CANCEL_HEARD", error_code="TOO_LATE", error_message="It is on xen2 now.")
        assert job.waiting_for == "It is on xen2 now."
        tell(job, "TARGET", "SUCCEEDED", facts=READY | {"domains": (domain(web1),)})
        tell(job, "SOURCE", "SUCCEEDED", facts=READY | {"domains": ()})
        assert job.status == "SUCCEEDED"

    def test_a_target_that_has_just_opened_is_told_instead(self, start_move, posted, dana, now, web1):
        job = start_move()
        assert (
            posted(lambda: operations.cancel_job(user=dana, job_id=job.id, now=now))["xen2"][-1] == "CANCEL"
        )
        assert not posted(lambda: listens(job))["xen1"]
        assert Job.objects.get(id=job.id).status == "RUNNING"


class TestSweep:
    def test_rings_again_for_a_side_that_says_nothing(self, start_move, posted, now, pair):
        job = start_move()
        later = now + timedelta(seconds=29)
        for host in pair:
            show(host, now=later)
        assert posted(lambda: operations.sweep(now=later + timedelta(seconds=5)))["xen2"] == ["RECEIVE"]
        assert job.status == "QUEUED"

    def test_a_target_that_never_answers_is_not_waited_for(self, start_move, now, pair, web1):
        job = start_move()
        later = now + timedelta(seconds=130)
        heard_until(later)
        show(pair[0], domain(web1), now=later)
        show(pair[1], now=later)
        operations.sweep(now=later)
        assert look_at(job).verdict == "STAYED"


class TestSourceThatNeverBegins:
    """Its worker was killed before the order was written down: it has no part in a move yet."""

    @pytest.fixture
    def job(self, start_move):
        job = start_move()
        listens(job)
        return job

    @pytest.fixture
    def later(self, now, pair, web1):
        """Both hosts show themselves, and the machine runs where it was."""

        def show_both(seconds):
            at = now + timedelta(seconds=seconds)
            heard_until(at)
            show(pair[0], domain(web1), now=at)
            show(pair[1], now=at)
            return at

        return show_both

    def test_is_rung_and_then_both_are_called_off(self, job, posted, later):
        at = later(40)
        assert posted(lambda: operations.sweep(now=at))["xen1"] == ["MIGRATE"]
        at = later(71)
        sent = posted(lambda: operations.sweep(now=at))
        assert (sent["xen1"][-1], sent["xen2"][-1]) == ("CANCEL", "CANCEL")
        assert look_at(job).phase == "MOVING"
        tell(job, "TARGET", "CANCELLED", facts={"closed": True, "domains": ()}, now=at)
        tell(job, "SOURCE", "CANCELLED", now=at)
        assert look_at(job).why == "The source never confirmed the switch-over, and the machine runs there."
        tell_cleaned(job, "TARGET", now=at)
        tell_cleaned(job, "SOURCE", now=at)
        assert (job.status, job.machine.host.name, job.machine.power) == ("FAILED", "xen1", "RUNNING")

    def test_stays_by_what_its_host_shows_where_it_answers_nothing(self, job, later, web1):
        at = later(71)
        tell(job, "TARGET", "CANCELLED", facts={"closed": True, "domains": ()}, now=at)
        at = later(102)
        operations.sweep(now=at)
        assert (
            look_at(job).why
            == "The switch-over never reached the target, and the machine runs on the source."
        )
        tell_cleaned(job, "TARGET", now=at)
        assert job.status == "RUNNING"
        tell_cleaned(job, "SOURCE", now=at)
        web1.refresh_from_db()
        assert (job.status, web1.host.name, web1.power) == ("FAILED", "xen1", "RUNNING")
