"""Half a verb does not pass: each row of the contract's verbs has all that is written by hand for it."""

import subprocess
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from tests.conventions import verbs
from worker import contract
from worker.contract.verbs import COMMON, ROWS


@dataclass(frozen=True)
class SnoozeMachine(contract.Order):
    kind: ClassVar[str] = "SNOOZE"


#: a verb of which nobody has written anything but the row
HALF = contract.Verb(
    order=SnoozeMachine,
    purpose="Hold its processors.",
    deadline_seconds=60,
    powers=frozenset({"RUNNING"}),
    power_after="PAUSED",
    steps=(contract.Step("SNOOZE", 50),),
    xl=("pause", "freeze"),
)


class TestEveryVerb:
    @pytest.mark.parametrize("verb", ROWS, ids=lambda verb: verb.kind)
    def test_has_all_that_is_written_by_hand(self, verb: contract.Verb) -> None:
        assert not verbs.lacks_of(verb), "\n" + "\n".join(verbs.lacks_of(verb))

    def test_is_a_kind_of_the_contract(self) -> None:
        assert {verb.kind: verb.order for verb in ROWS}.items() <= contract.KINDS.items()
        assert len(contract.VERBS) == len(ROWS)

    def test_takes_its_steps_from_its_row(self) -> None:
        known = {step.code for verb in ROWS for step in (*verb.steps, *COMMON)}
        known |= {code for verb in ROWS for codes in verb.variants.values() for code in codes}
        assert not {code: where for code, where in verbs.steps_said().items() if code not in known}

    def test_page_of_states_has_no_other_lines(self) -> None:
        table = verbs.text_of("docs/states.md").partition("| Kind |")[2].partition("\n\n")[0]
        lines = {line for line in table.splitlines() if line.startswith("| `")}
        assert lines == {verbs.line_of(verb) for verb in ROWS}


class TestHalfAVerb:
    def test_is_told_what_it_lacks(self) -> None:
        lacks = "\n".join(verbs.lacks_of(HALF))
        for lack in (
            "no function of the worker",
            "no method for xl freeze",
            "stand-in has no xl freeze",
            "does not hold xl freeze",
            "its kind has no label",
            "its button has no label",
            "its step SNOOZE has no label",
            "burn-in does not try it",
            "docs/states.md has no line | `SNOOZE` |",
            "no operation snooze_machine",
            "docs/api.md does not name",
            "/snooze/ is not routed",
        ):
            assert lack in lacks, lacks

    @pytest.mark.parametrize(
        ("changes", "lack"),
        [
            ({"deadline_seconds": 0}, "its deadline"),
            ({"steps": ()}, "no steps"),
            ({"powers": frozenset({"ASLEEP"})}, "none of Machine.Power"),
            ({"states": frozenset({"SOLD"})}, "none of Machine.State"),
            ({"xl": ()}, "names no command"),
            ({"loudness": "ASKS_NAME"}, "it asks for the name"),
            ({"event_asked": "SOLD"}, "none of lifecycle.Event"),
            ({"event_asked": "DELETE_ASKED"}, "its states are not those"),
            ({"order": contract.CreateMachine}, "fields without a default"),
        ],
    )
    def test_is_told_what_its_row_lacks(self, changes: dict[str, object], lack: str) -> None:
        assert lack in "\n".join(verbs.lacks_of(replace(HALF, **changes)))  # type: ignore[arg-type]


class TestTheContract:
    def test_stands_on_the_standard_library_alone(self) -> None:
        look = (
            "import sys; before = set(sys.modules); import worker.contract;"
            "print([name for name in set(sys.modules) - before"
            " if name.partition('.')[0] not in sys.stdlib_module_names"
            " and not name.startswith('worker.contract') and name != 'worker'])"
        )
        done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
