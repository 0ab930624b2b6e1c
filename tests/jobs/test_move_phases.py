"""A migration's phase changes by its table alone: every event on every phase."""

import pytest

from tests.moves import tell, tell_cleaned
from webxen.migration.models import Move
from webxen.migration.phases import INITIAL, TRANSITIONS, Event, change


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("phase", Move.Phase)
class TestEveryEventOnEveryPhase:
    def test_follows_the_table(self, start_move, phase, event):
        move = start_move().move
        Move.objects.filter(pk=move.pk).update(phase=phase, why="")
        is_allowed = phase in TRANSITIONS[event].sources
        assert change(move_id=move.pk, event=event, why="because") is is_allowed
        move.refresh_from_db()
        assert move.phase == (TRANSITIONS[event].target if is_allowed else phase)
        assert (move.why == "because") is is_allowed


class TestTable:
    def test_every_phase_can_be_reached(self):
        assert {transition.target for transition in TRANSITIONS.values()} | {INITIAL} == set(Move.Phase)

    def test_an_end_is_never_left(self):
        assert all(Move.Phase.ENDED not in transition.sources for transition in TRANSITIONS.values())

    def test_a_bug_on_a_host_ends_the_job_as_an_error(self, start_move, now):
        job = start_move()
        bug = {"error_code": "INTERNAL_ERROR", "error_reference": "0123abcd"}
        tell(job, "TARGET", "FAILED", facts={"closed": True, "domains": ()}, **bug)
        tell_cleaned(job, "TARGET")
        assert (job.status, job.error_code, job.error_reference) == ("ERROR", "INTERNAL_ERROR", "0123abcd")
        assert Move.objects.get(job=job).phase == "ENDED"
