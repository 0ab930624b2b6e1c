"""The boot bar: which step is where, and how long each took."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.fixtures import NOW
from webxen.web.steps import cleaning, lay_out


@dataclass(frozen=True)
class News:
    step: str
    after: float
    event: str = "STEP"

    @property
    def at(self) -> datetime:
        return NOW + timedelta(seconds=self.after)


def bar(
    status: str, *news: News, finished: float | None = None, kind: str = "CREATE", **move: Any
) -> dict[str, tuple]:
    steps = lay_out(
        kind=kind,
        status=status,
        events=news,
        finished_at=None if finished is None else NOW + timedelta(seconds=finished),
        now=NOW + timedelta(seconds=30),
        **move,
    )
    return {step.code: (step.state, step.seconds) for step in steps}


class TestBootBar:
    def test_before_the_first_news_everything_is_to_come(self) -> None:
        assert set(bar("QUEUED").values()) == {("todo", None)}

    def test_a_step_lasts_from_its_first_news_to_that_of_the_next(self) -> None:
        shown = bar("RUNNING", News("TEMPLATE", 1), News("DISK", 3), News("DISK", 5), News("SEED", 9))
        assert shown["TEMPLATE"] == ("done", 2.0)
        assert shown["DISK"] == ("done", 6.0)
        assert shown["SEED"] == ("now", 21.0)
        assert shown["LOGIN"] == ("todo", None)

    def test_the_last_step_ends_with_the_job(self) -> None:
        shown = bar("SUCCEEDED", News("INIT", 10), News("LOGIN", 12), finished=15)
        assert shown["LOGIN"] == ("done", 3.0)

    def test_a_step_nobody_reported_is_never_shown_as_done(self) -> None:
        running = bar("RUNNING", News("DISK", 1), News("KERNEL", 4))
        assert running["TEMPLATE"] == running["SEED"] == running["DOMAIN"] == ("unheard", None)
        assert running["INIT"] == ("todo", None)
        done = bar("SUCCEEDED", News("CONFIG", 1), News("DOMAIN", 2), finished=90, kind="START")
        assert [state for state, _ in done.values()] == ["done", "done", "unheard", "unheard", "unheard"]

    def test_the_step_at_which_it_failed_is_marked_and_the_rest_never_came(self) -> None:
        shown = bar("FAILED", News("DISK", 1), News("KERNEL", 4), finished=9)
        assert shown["KERNEL"] == ("failed", 5.0)
        assert shown["INIT"] == ("unheard", None)

    @pytest.mark.parametrize(("status", "state"), [("FAILED", "failed"), ("CANCELLED", "cancelled")])
    def test_cleaning_up_is_no_step_and_not_what_failed(self, status: str, state: str) -> None:
        shown = bar(status, News("INIT", 4), News("CLEANING", 14), News("INIT", 20, status), finished=20)
        assert "CLEANING" not in shown
        assert shown["INIT"] == (state, 10.0)
        assert shown["LOGIN"] == ("unheard", None)

    def test_while_it_is_cleaned_up_no_step_goes_on(self) -> None:
        assert bar("RUNNING", News("DISK", 1), News("CLEANING", 4))["DISK"] == ("failed", 3.0)
        asked = News("", 3, "CANCEL_ASKED")
        assert bar("RUNNING", News("DISK", 1), asked, News("CLEANING", 4))["DISK"] == ("cancelled", 3.0)

    def test_where_the_host_never_answered_the_last_step_did_not_fail(self) -> None:
        assert bar("FAILED", News("DISK", 1), finished=9, is_unanswered=True)["DISK"] == ("lost", 8.0)

    def test_a_job_begun_again_is_where_it_is_now(self) -> None:
        first = (News("", 1, "STARTED"), News("TEMPLATE", 1), News("DISK", 2), News("INIT", 5))
        shown = bar("RUNNING", *first, News("", 9, "STARTED"), News("TEMPLATE", 10))
        assert shown["TEMPLATE"] == ("now", 20.0)
        assert shown["DISK"] == shown["INIT"] == ("todo", None)

    def test_steps_it_does_not_know_stand_behind_the_one_before_them(self) -> None:
        assert list(bar("RUNNING", News("SOMETHING", 1), kind="POWEROFF")) == ["DOMAIN", "SOMETHING"]
        shown = bar("RUNNING", News("DOMAIN", 1), News("SOMETHING", 2), kind="DELETE")
        assert list(shown) == ["DOMAIN", "SOMETHING", "DISK"]
        assert shown["DISK"] == ("todo", None)

    def test_the_hosts_own_look_at_the_order_is_not_shown(self) -> None:
        assert "ACCEPT" not in bar("RUNNING", News("ACCEPT", 0), News("TEMPLATE", 1))

    def test_a_clock_that_went_backwards_shows_no_negative_time(self) -> None:
        assert bar("RUNNING", News("TEMPLATE", 50))["TEMPLATE"] == ("now", 0.0)


#: as two hosts report a cold move of a running machine: what each says, side by side
COLD = (
    ("TARGET", "ACCEPT"),
    ("TARGET", "CHECK"),
    ("TARGET", "LISTEN"),
    ("TARGET", "LISTENING"),
    ("SOURCE", "ACCEPT"),
    ("SOURCE", "CHECK"),
    ("SOURCE", "CONNECT"),
    ("TARGET", "CONFIG"),
    ("TARGET", "STREAM"),
    ("SOURCE", "SHUTDOWN"),
    ("SOURCE", "GONE"),
    ("SOURCE", "STREAM"),
    ("SOURCE", "REPORTED"),
    ("TARGET", "CONFIG"),
    ("TARGET", "DOMAIN"),
    ("TARGET", "KERNEL"),
    ("TARGET", "INIT"),
    ("TARGET", "LOGIN"),
)
ORDER = [
    "CHECK",
    "LISTENING",
    "CONNECT",
    "STREAM",
    "SHUTDOWN",
    "GONE",
    "GO",
    "DOMAIN",
    "KERNEL",
    "INIT",
    "LOGIN",
]


def cold_bar(status: str, last: int, *more: News) -> dict[str, tuple]:
    news = [News(step, number, f"{side}_STEP") for number, (side, step) in enumerate(COLD[:last])]
    return bar(status, *news, *more, kind="MIGRATE", method="COLD", restarts=True)


class TestColdMove:
    def test_has_steps_of_its_own_in_the_order_they_are_taken(self) -> None:
        done = cold_bar("SUCCEEDED", len(COLD))
        assert list(done) == ORDER
        assert {state for state, _ in done.values()} == {"done"}

    def test_nothing_is_handed_over_while_the_machine_is_shut_down(self) -> None:
        shown = cold_bar("RUNNING", COLD.index(("SOURCE", "GONE")) + 1)
        assert [code for code, (state, _) in shown.items() if state == "done"] == ORDER[:5]
        assert shown["GONE"][0] == "now"
        assert {state for code, (state, _) in shown.items() if code in ("DOMAIN", "LOGIN")} == {"todo"}
        assert "REPORTED" not in shown

    def test_a_boot_on_the_source_is_not_the_targets(self) -> None:
        again = (News("CONFIG", 20, "SOURCE_STEP"), News("DOMAIN", 21, "SOURCE_STEP"))
        shown = cold_bar("FAILED", COLD.index(("SOURCE", "GONE")) + 1, *again)
        assert shown["GONE"][0] == "failed"
        assert shown["DOMAIN"] == ("unheard", None)

    def test_one_that_is_off_boots_nothing(self) -> None:
        shown = bar("RUNNING", News("CHECK", 1), kind="MIGRATE", method="COLD")
        assert list(shown) == ["CHECK", "LISTENING", "CONNECT", "STREAM"]


class TestCleaning:
    def test_is_a_line_of_its_own(self) -> None:
        begun = (News("DISK", 1), News("CLEANING", 4))
        assert cleaning(status="RUNNING", events=begun[:1]) == ""
        assert cleaning(status="RUNNING", events=begun) == "now"
        assert cleaning(status="FAILED", events=(*begun, News("DISK", 9, "FAILED"))) == "done"
        assert cleaning(status="CANCELLED", events=(*begun, News("DISK", 9, "CANCELLED"))) == "done"

    def test_nobody_knows_its_end_where_the_host_fell_silent(self) -> None:
        news = (News("DISK", 1), News("CLEANING", 4), News("CLEANING", 90, "FAILED"))
        assert cleaning(status="FAILED", events=news) == "lost"
