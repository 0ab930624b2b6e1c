"""The worker dies at every position of every verb, and then each thing happens that can happen next.

Lives here: sweeps over all positions, in order, where `test_model` draws at random.
"""

from collections.abc import Callable

import pytest

from tests.model.history import History

VERBS = ("CREATE", "START", "SHUTDOWN", "POWEROFF", "REBOOT", "DELETE")
#: what comes after the worker's death, before everything heals
NEXT = {
    "it starts again": ["look"],
    "the order comes again": ["again"],
    "nobody looks until the portal gives up": ["give up", "look"],
    "the portal gives up and somebody asks anew": ["give up", "start", "look"],
    "the portal gives up and somebody deletes it": ["give up", "delete", "look"],
    "it dies twice more": ["die", "look", "die", "look", "look"],
    "it is cancelled": ["cancel", "look"],
    "it is cancelled after it was taken up again": ["look", "cancel", "look"],
    "the power goes": ["power", "look"],
    "the order comes once more after that": ["look", "hear", "act", "again", "look"],
}

SAMPLE = (
    ("CREATE", "it starts again"),
    ("START", "the portal gives up and somebody asks anew"),
    ("DELETE", "the order comes again"),
)


def go_through(history: History, verb: str, position: int, steps: list[str]) -> bool:
    """Play one position; False when the verb has fewer."""
    try:
        history.begin(machines=1)
        if verb == "START":
            history.act_and_go_on(which=0, kind="POWEROFF")
        for site in history.sites.values():
            site.breath.hold(after=position, action=site.die)
        if verb == "CREATE":
            history.create(host=None, dies=False)
        else:
            history.act(which=0, kind=verb, dies=False)
        which = 1 if verb == "CREATE" else 0
        history.go_on()
        was_reached = any(not site.breath.is_held for site in history.sites.values())
        for step in steps:
            take(history, step, which, verb)
            history.what_must_hold()
    finally:
        history.teardown()
    return was_reached


def take(history: History, step: str, which: int, verb: str) -> None:
    sites = list(history.sites.values())
    steps: dict[str, Callable[[], object]] = {
        "look": lambda: [site.look() for site in sites],
        "hear": history.let_all_hear,
        "again": lambda: history.deliver_an_old_order(which=0, host="its own"),
        "give up": lambda: give_up(history),
        "start": lambda: history.act_and_go_on(which=which, kind="START"),
        "delete": lambda: history.act_and_go_on(which=which, kind="DELETE"),
        "act": lambda: history.act_and_go_on(which=which, kind="POWEROFF" if verb == "START" else "START"),
        "cancel": lambda: (history.cancel(which=which), history.go_on()),
        "die": lambda: [site.breath.hold(after=2, action=site.die) for site in sites],
        "power": lambda: [site.power_cut() for site in sites],
    }
    steps[step]()


def give_up(history: History) -> None:
    """So much time goes by that the portal stops waiting."""
    for _ in range(3):
        history.sweep(seconds=700)
        history.observe_all()


class TestEveryPosition:
    @pytest.mark.campaign
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize("what", NEXT)
    @pytest.mark.parametrize("verb", VERBS)
    def test_keeps_every_promise(self, history: type[History], verb: str, what: str) -> None:
        assert sweep(history, verb, what, stride=1) > 5

    @pytest.mark.parametrize(("verb", "what"), SAMPLE)
    def test_keeps_every_promise_where_it_is_tried(
        self, history: type[History], verb: str, what: str
    ) -> None:
        assert sweep(history, verb, what, stride=13) > 1


def sweep(history: type[History], verb: str, what: str, *, stride: int) -> int:
    """How many positions were tried."""
    tried = 1
    while go_through(history(), verb, 1 + (tried - 1) * stride, NEXT[what]):
        tried += 1
        assert tried < 300
    return tried
