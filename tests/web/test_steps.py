"""The boot bar: which step is where, and how long each took."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.people import NOW
from webxen.web.steps import lay_out


@dataclass(frozen=True)
class News:
    step: str
    after: float
    event: str = "STEP"

    @property
    def at(self) -> datetime:
        return NOW + timedelta(seconds=self.after)


def bar(status: str, *news: News, finished: float | None = None, kind: str = "CREATE") -> dict[str, tuple]:
    steps = lay_out(
        kind=kind,
        status=status,
        events=news,
        finished_at=None if finished is None else NOW + timedelta(seconds=finished),
        now=NOW + timedelta(seconds=30),
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
        assert {state for state, _ in shown.values()} == {"done"}

    def test_the_step_at_which_it_failed_is_marked_and_the_rest_never_came(self) -> None:
        shown = bar("FAILED", News("DISK", 1), News("KERNEL", 4), finished=9)
        assert shown["SEED"] == ("done", None)
        assert shown["KERNEL"] == ("failed", 5.0)
        assert shown["INIT"] == ("todo", None)

    def test_steps_it_does_not_know_are_shown_after_the_others(self) -> None:
        assert list(bar("RUNNING", News("SOMETHING", 1), kind="POWEROFF")) == ["DOMAIN", "SOMETHING"]

    def test_the_hosts_own_look_at_the_order_is_not_shown(self) -> None:
        assert "ACCEPT" not in bar("RUNNING", News("ACCEPT", 0), News("TEMPLATE", 1))

    def test_a_clock_that_went_backwards_shows_no_negative_time(self) -> None:
        assert bar("RUNNING", News("TEMPLATE", 50))["TEMPLATE"] == ("now", 0.0)
