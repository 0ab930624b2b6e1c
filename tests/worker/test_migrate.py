"""A machine moves between two stand-in hosts through the relay, there and back, live and suspended."""

import dataclasses
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.console_bench import wait_for
from tests.worker.moving import Ends, Host, Pair, names
from tests.worker.worker_host import run
from worker.contract import MoveSide, SettleMove, settle_job_id


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.close()


def told(ends: Ends) -> list[str]:
    return [f"{end.event} {end.error_code} {end.error_message}" for end in (ends.source, ends.target)]


@pytest.mark.parametrize("method", ["LIVE", "SUSPENDED"])
class TestMove:
    def test_there_and_back(self, pair: Pair, method: str) -> None:
        machine = pair.machine()
        there = pair.move(machine, pair.a, pair.b, method=method)
        assert (there.source.event, there.target.event) == ("SUCCEEDED", "SUCCEEDED"), told(there)
        assert pair.a.powers(machine) == {}
        assert pair.b.powers(machine) == {machine.domain: "RUNNING"}
        back = pair.move(machine, pair.b, pair.a, method=method)
        assert (back.source.event, back.target.event) == ("SUCCEEDED", "SUCCEEDED"), told(back)
        assert pair.a.powers(machine) == {machine.domain: "RUNNING"}
        assert pair.ran_twice() == []
        assert pair.a.worker_host.disk(machine).exists()
        facts = there.source.move
        assert facts is not None
        assert (facts.phase, facts.go_passed, names(facts.domains)) == ("REPORTED", True, {})
        assert facts.bytes_sent > 1 << 20
        assert facts.passes == (3 if method == "LIVE" else 1)
        assert facts.blackout_ms >= 0


class TestCancel:
    def test_before_go_leaves_the_machine_running_where_it_was(self, tmp_path: Path) -> None:
        pair = Pair(tmp_path, migrate_seconds=6.0)
        machine = pair.machine()
        receive = pair.receive(machine, pair.a)
        thread, port = pair.listen(pair.b, receive)
        migrate = pair.migrate(receive, port, pair.b)
        sending = pair.a.begin(migrate)
        wait_for(lambda: "STREAM" in {r.step for r in pair.a.worker_host.reports}, "the stream")
        pair.cancel(pair.a, migrate)
        sending.join(30)
        thread.join(30)
        assert pair.a.worker_host.end_of(receive.job_id).event == "CANCELLED"
        assert pair.b.worker_host.end_of(receive.job_id).error_code == "MOVE_FAILED"
        facts = pair.b.facts_of(receive.job_id)
        assert (facts.go_passed, facts.closed, facts.domains) == (False, True, ())
        assert pair.a.powers(machine) == {machine.domain: "RUNNING"}
        assert pair.b.powers(machine) == {}
        assert not pair.b.worker_host.settings.machine_facts(machine.id).exists()
        assert pair.ran_twice() == []
        pair.close()

    def test_after_go_is_too_late_and_says_why(self, pair: Pair) -> None:
        machine = pair.machine()
        pair.b.worker_host.stand_in.lay_out(**{"migrate-receive": {"at": "go", "slow": 4}})
        receive = pair.receive(machine, pair.a)
        thread, port = pair.listen(pair.b, receive)
        migrate = pair.migrate(receive, port, pair.b)
        sending = pair.a.begin(migrate)
        wait_for(lambda: "GO" in {r.step for r in pair.a.worker_host.reports}, "GO", 60)
        pair.cancel(pair.a, migrate)
        sending.join(30)
        thread.join(30)
        heard = [r for r in pair.a.worker_host.reports if r.event == "CANCEL_HEARD"]
        assert [(r.error_code, "switch-over" in r.error_message) for r in heard] == [("TOO_LATE", True)]
        assert pair.a.worker_host.end_of(receive.job_id).event == "SUCCEEDED"
        assert pair.b.powers(machine) == {machine.domain: "RUNNING"}


class TestRefused:
    def test_live_where_the_machine_is_pv(self, pair: Pair) -> None:
        machine = pair.machine(type="PV")
        receive = pair.receive(machine, pair.a)
        thread, port = pair.listen(pair.b, receive)
        pair.a.obey(pair.migrate(receive, port, pair.b))
        end = pair.a.worker_host.end_of(receive.job_id)
        assert (end.error_code, end.power) == ("MOVE_REFUSED", "RUNNING")
        pair.cancel(pair.b, receive)
        thread.join(30)
        assert pair.b.worker_host.end_of(receive.job_id).event == "CANCELLED"

    def test_where_the_target_has_no_room_or_knows_the_machine(self, pair: Pair) -> None:
        machine = pair.machine()
        big = dataclasses.replace(machine, id=str(uuid.uuid4()), domain="m-big", memory_mib=1 << 20)
        disk = pair.a.worker_host.disk(big)
        disk.parent.mkdir()
        disk.touch()
        for spec, host, code in (
            (big, pair.b, "NO_MEMORY"),
            (machine, pair.a, "NAME_TAKEN"),
            (dataclasses.replace(big, id=str(uuid.uuid4())), pair.b, "MACHINE_MISSING"),
        ):
            order = pair.receive(spec, pair.a)
            host.obey(order)
            end = host.worker_host.end_of(order.job_id)
            assert end.error_code == code
            assert end.move is not None
            assert not end.move.go_passed

    def test_by_what_an_order_must_not_hold(self, pair: Pair) -> None:
        machine = pair.a.worker_host.machine()
        good = pair.receive(machine, pair.a)
        migrate = pair.migrate(good, 8443, pair.b)
        for order in (
            dataclasses.replace(good, certificate="x; reboot"),
            dataclasses.replace(migrate, address="xen2; reboot"),
            dataclasses.replace(migrate, port=0),
            dataclasses.replace(migrate, rate_mib_s=-1),
        ):
            fresh = dataclasses.replace(order, job_id=str(uuid.uuid4()))
            pair.a.obey(fresh)
            assert pair.a.worker_host.end_of(fresh.job_id).error_code == "ORDER_REFUSED"


class TestSettle:
    def test_refuses_a_verdict_that_is_not_what_it_sees_and_takes_the_right_one(self, pair: Pair) -> None:
        machine = pair.machine()
        ends = pair.move(machine, pair.a, pair.b)
        sides: tuple[tuple[Host, MoveSide], ...] = ((pair.b, "TARGET"), (pair.a, "SOURCE"))
        for host, side in sides:
            end = pair.settle(ends, machine, host, side, "STAYED")
            assert (end.event, end.error_code) == ("FAILED", "OUTCOME_CONTRADICTED")
            assert end.move is not None
            assert end.move.job_id == ends.source.job_id
        for host, side in sides:
            assert pair.settle(ends, machine, host, side, "MOVED", attempt=1).event == "SUCCEEDED"
        assert pair.b.powers(machine) == {machine.domain: "RUNNING"}
        assert len(pair.b.worker_host.stand_in.runs()) == 1

    def test_never_wakes_what_no_word_was_handed_over_for(self, pair: Pair) -> None:
        machine = pair.machine()
        move_id = str(uuid.uuid4())
        run(pair.a.worker_host.stand_in.xl, "pause", machine.domain)
        for side, code in (("TARGET", "OUTCOME_CONTRADICTED"), ("SOURCE", "OUTCOME_CONTRADICTED")):
            job_id = settle_job_id(move_id, side)
            pair.a.obey(SettleMove(job_id, 5000, machine, move_id, side, "MOVED", deadline_seconds=120))
            assert pair.a.worker_host.end_of(job_id).error_code == code
        assert pair.a.powers(machine) == {machine.domain: "PAUSED"}
