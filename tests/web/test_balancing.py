"""The page of balance says in words what runs by itself, when, and what that did last."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine

from tests.moves import domain, show
from webxen.core import windows
from webxen.fleet import balancing

#: a Saturday
OPENS = datetime(2026, 11, 28, 1, 0, tzinfo=UTC)


def read(answer: Any) -> str:
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]*>", " ", answer.content.decode()).split())


@pytest.fixture
def in_window(pair: Any, make_machine: Any, settings: Any) -> Any:
    """The window has just opened, and xen1 has all the machines."""
    settings.WEBXEN_BALANCE_WINDOW = windows.read("WEBXEN_BALANCE_WINDOW", "Sat,Sun 01:00-05:00")
    with time_machine.travel(OPENS, tick=False):
        here = [make_machine(name, host_name="xen1") for name in ("web2", "web3", "web4")]
        show(pair[0], *(domain(machine) for machine in (*pair[0].machines.all(), *here)), now=OPENS)
        show(pair[1], now=OPENS)
        yield


class TestBalancePage:
    def test_says_that_staff_approves_where_no_window_is_set(self, as_, dana, pair):
        assert "Moves start only after an administrator approves them." in read(as_(dana).get("/balance/"))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("Sat,Sun 01:00-05:00", "Sat and Sun 01:00-05:00 UTC"),
            ("daily 01:00-05:00", "every day 01:00-05:00 UTC"),
            ("Mon-Wed 22:00-24:00", "Mon, Tue and Wed 22:00-00:00 UTC"),
            ("Fri 22:00-04:00", "Fri 22:00-04:00 UTC"),
        ],
    )
    def test_says_the_policy_in_words(self, text, said, as_, dana, pair, settings):
        settings.WEBXEN_BALANCE_WINDOW = windows.read("WEBXEN_BALANCE_WINDOW", text)
        page = read(as_(dana).get("/balance/"))
        assert f"Moves run by themselves {said} when a move gains at least 5 %." in page
        assert "The window is closed." in page
        assert "Nothing has been moved automatically so far." in page

    def test_says_what_it_did_last_and_why_it_waits(self, in_window, as_, dana):
        balancing.run_policy(now=OPENS)
        page = read(as_(dana).get("/balance/"))
        assert "Last run:" in page
        assert "xen1 → xen2" in page
        assert "The window is open. No move starts now: Earlier moves are" in page

    def test_in_russian_holds_no_english(self, in_window, as_, dana):
        balancing.run_policy(now=OPENS)
        page = read(as_(dana).get("/balance/", headers={"accept-language": "ru"}))
        assert "Перемещения выполняются сами (сб и вс 01:00–05:00 UTC)" in page
        assert "Ещё идут ранее начатые перемещения." in page
        assert "move" not in page.lower()

    def test_the_audit_and_the_job_name_the_policy(self, in_window, as_, dana):
        (step,) = balancing.run_policy(now=OPENS).steps.all()
        assert "balance policy Balancing started" in read(as_(dana).get("/audit/"))
        assert "Requested by balance policy" in read(as_(dana).get(f"/jobs/{step.job_id}/"))

    def test_is_not_for_charlie(self, in_window, as_, charlie, elsewhere):
        assert as_(charlie).get("/balance/").status_code == 404
