"""The verbs of a burn-in and their order, derived from the contract. Pure."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from worker import contract

CREATE, DELETE = (order.kind.lower() for order in (contract.CreateMachine, contract.DeleteMachine))
ON, OFF = "RUNNING", "OFF"


def every_verb() -> tuple[str, ...]:
    """Return every action, in an order in which each starts where the previous one ends; DELETE is last."""
    done, power = [CREATE], contract.VERBS[CREATE.upper()].power_after
    left = dict(contract.ACTIONS)
    while left:
        way = _way(power, set(left))
        for action in way:
            left.pop(action, None)
        done += way
        power = contract.ACTIONS[way[-1]].power_after or power
    home = [] if power == ON else _way(power, _leading_to(ON))
    return (*done, *home, DELETE)


def _leading_to(power: str) -> set[str]:
    return {action for action, verb in contract.ACTIONS.items() if verb.power_after == power}


def _way(power: str, wanted: AbstractSet[str]) -> list[str]:
    """Return the shortest series of actions from this power to one of the wanted actions. Raises
    LookupError.
    """
    ways: list[tuple[str, list[str]]] = [(power, [])]
    known = {power}
    for here, way in ways:
        for action, verb in contract.ACTIONS.items():
            if verb.powers and here not in verb.powers:
                continue
            if action in wanted:
                return [*way, action]
            there = verb.power_after or here
            if there not in known:
                known.add(there)
                ways.append((there, [*way, action]))
    raise LookupError(f"no action leads from {power} to one of {', '.join(sorted(wanted))}")


VERBS = every_verb()
#: after these verbs a new domain with a login prompt is expected
BOOTING = frozenset(verb.action for verb in contract.VERBS.values() if verb.boots)


def said_of(verb: str) -> str:
    """Describe the expected state of a machine after this verb."""
    if verb in BOOTING:
        return "login prompt, alive"
    return "gone" if verb == DELETE else contract.ACTIONS[verb].power_after.lower() or "there"


def leaves_off(verb: str) -> bool:
    """Whether the machine has no domain after this verb."""
    return verb == DELETE or (verb != CREATE and contract.ACTIONS[verb].power_after == OFF)


def why_not_listed(verb: str, powers: Sequence[str]) -> str:
    """Return why domains with these powers are not what the action leads to, or ""."""
    power = contract.ACTIONS[verb].power_after
    if power in powers or (powers and not power):
        return ""
    return f"no domain of it is listed as {power.lower() or 'there'}"
