"""The worker dies at every position of every verb, and then each thing happens that can happen next.

Lives here: sweeps over all positions, in order, where `test_model` draws at random.
"""

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
    if step == "look":
        for site in history.sites.values():
            site.look()
    elif step == "hear":
        history.let_all_hear()
    elif step == "again":
        history.deliver_an_old_order(which=0, host="its own")
    elif step == "give up":
        for _ in range(3):
            history.sweep(seconds=700)
            history.observe_all()
    elif step == "start":
        history.act_and_go_on(which=which, kind="START")
    elif step == "delete":
        history.act_and_go_on(which=which, kind="DELETE")
    elif step == "act":
        history.act_and_go_on(which=which, kind="POWEROFF" if verb == "START" else "START")
    elif step == "cancel":
        history.cancel(which=which)
        history.go_on()
    elif step == "die":
        for site in history.sites.values():
            site.breath.hold(after=2, action=site.die)
    elif step == "power":
        for site in history.sites.values():
            site.power_cut()


class TestEveryPosition:
    @pytest.mark.parametrize("what", NEXT)
    @pytest.mark.parametrize("verb", VERBS)
    def test_keeps_every_promise(self, history: type[History], verb: str, what: str) -> None:
        position = 1
        while go_through(history(), verb, position, NEXT[what]):
            position += 1
            assert position < 200
        assert position > 5
