"""The settled state: only along the table, and every move leaves a row."""

import dataclasses

import pytest

from webxen.core.models import AuditEntry
from webxen.machines import lifecycle
from webxen.machines.lifecycle import ACTIONS, TRANSITIONS, Event, MoveRefusedError, allowed_actions
from webxen.machines.models import Machine, MachineMove


@dataclasses.dataclass(frozen=True)
class Open:
    kind: str


class TestMove:
    @pytest.mark.parametrize("event", Event)
    @pytest.mark.parametrize("state", Machine.State)
    def test_goes_along_the_table_and_nowhere_else(self, web1, alice, now, event, state):
        Machine.objects.filter(id=web1.id).update(state=state)
        moves = MachineMove.objects.count()
        if state in TRANSITIONS[event].sources:
            lifecycle.move(machine=web1, event=event, actor=alice, why="because", now=now)
            row = MachineMove.objects.last()
            assert web1.state == TRANSITIONS[event].target
            assert (row.actor, row.event, row.from_state, row.to_state, row.why, row.at) == (
                alice,
                event,
                state,
                web1.state,
                "because",
                now,
            )
        else:
            with pytest.raises(MoveRefusedError):
                lifecycle.move(machine=web1, event=event, actor=alice, now=now)
            web1.refresh_from_db()
            assert web1.state == state
            assert MachineMove.objects.count() == moves

    def test_every_state_but_the_first_is_reached_and_only_deleted_is_an_end(self):
        reached = {move.target for move in TRANSITIONS.values()}
        left = {state for move in TRANSITIONS.values() for state in move.sources}
        assert reached == set(Machine.State) - {Machine.State.PENDING}
        assert left == set(Machine.State) - {Machine.State.DELETED}

    def test_a_building_machine_left_rows_about_its_way(self, web1):
        assert [(move.from_state, move.to_state) for move in web1.moves.all()] == [
            ("PENDING", "BUILDING"),
            ("BUILDING", "READY"),
        ]


def allowed(machine, user, open_job=None):
    reasons = allowed_actions(machine=machine, open_job=open_job, user=user)
    assert tuple(reasons) == ACTIONS
    return {action for action, why in reasons.items() if not why}


class TestAllowedActions:
    @pytest.mark.parametrize(
        ("power", "actions"),
        [
            ("RUNNING", {"shutdown", "reboot", "poweroff"}),
            ("OFF", {"start"}),
            ("CRASHED", {"start", "poweroff"}),
            ("PAUSED", {"poweroff"}),
            ("SUSPENDED", {"poweroff"}),
            ("UNKNOWN", {"poweroff"}),
        ],
    )
    def test_follow_the_power(self, web1, alice, power, actions):
        web1.power = power
        assert allowed(web1, alice) == actions | {"delete", "console", "edit"}

    def test_wait_while_a_job_is_open(self, web1, alice):
        assert allowed(web1, alice, Open("REBOOT")) == {"console", "edit"}
        reasons = allowed_actions(machine=web1, open_job=Open("REBOOT"), user=alice)
        assert reasons["start"] == "A job is in progress: reboot. Wait until it finishes."

    @pytest.mark.parametrize(
        ("state", "actions"),
        [
            ("PENDING", {"delete"}),
            ("BUILDING", set()),
            ("FAILED", {"delete", "shutdown", "reboot", "poweroff"}),
            ("DELETING", set()),
        ],
    )
    def test_follow_the_state(self, web1, alice, state, actions):
        web1.state = state
        assert allowed(web1, alice) - {"console", "edit"} == actions

    @pytest.mark.parametrize(
        ("power", "actions"),
        [("OFF", set()), ("UNKNOWN", set()), ("PAUSED", {"poweroff"}), ("CRASHED", {"poweroff"})],
    )
    def test_what_failed_can_be_stopped_only_where_something_is_seen(self, web1, alice, power, actions):
        web1.state, web1.power = "FAILED", power
        assert allowed(web1, alice) - {"console", "edit"} == actions | {"delete"}

    def test_nothing_is_left_once_deleted(self, web1, alice):
        web1.state = "DELETED"
        assert allowed(web1, alice) == set()

    def test_every_refusal_is_a_sentence(self, web1, alice):
        for state in Machine.State:
            for power in Machine.Power:
                web1.state, web1.power = state, power
                for why in allowed_actions(machine=web1, open_job=None, user=alice).values():
                    assert why == "" or (why[0].isupper() and why.endswith("."))


class TestAuditOfAMachine:
    def test_tells_who_made_it(self, web1, alice):
        lines = AuditEntry.objects.filter(target_id=str(web1.id)).order_by("id")
        assert [(line.action, line.actor) for line in lines] == [
            ("CREATE_MACHINE", alice),
            ("CREATE_SUCCEEDED", alice),
        ]
