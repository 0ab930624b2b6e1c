"""Choose the target of a migration by the user's options, or refuse. Reads only."""

from dataclasses import dataclass
from datetime import datetime

from webxen.core.errors import InvalidError
from webxen.inventory.placement.choose import NAMED_HOSTS
from webxen.jobs import opening
from webxen.jobs.placing import NoRoomError
from webxen.machines.models import Machine
from webxen.migration import candidates
from webxen.migration.models import Move
from webxen.migration.precheck import Fit, minutes

METHODS = ("AUTO", *Move.Method.values)


@dataclass(frozen=True)
class Wish:
    """Options of a migration; `host_name` None: placement chooses."""

    host_name: str | None
    method: str = "AUTO"
    one_way_is_fine: bool = False
    rate_mib_s: int | None = None
    may_shut_down: bool = False


def find_fit(*, machine: Machine, wish: Wish, now: datetime) -> Fit:
    """Return the target's check. Raises InvalidError, NoRoomError, ActionRefusedError."""
    is_cold = wish.method == Move.Method.COLD
    found = candidates.fits(
        machine=machine,
        now=now,
        one_way_is_fine=wish.one_way_is_fine,
        wants_cold=is_cold,
        wanted=wish.host_name,
    )
    fit = _choose(machine, found, wish.host_name, wish.method, now)
    if fit.needs_shutdown and not (is_cold or wish.may_shut_down):
        raise _stays_on(machine, fit)
    return fit


def _choose(machine: Machine, found: list[Fit], host_name: str | None, method: str, now: datetime) -> Fit:
    if method not in METHODS:
        why = f"The method is one of {', '.join(METHODS).lower()}."
        raise InvalidError(why, fields={"method": [why]})
    if host_name is None:
        fit = candidates.choose(machine=machine, found=found, now=now)
        if fit is None:
            raise NoRoomError("No host can take it: " + _reasons(found))
    else:
        fit = next((one for one in found if one.host == host_name), None)
        if fit is None:
            why = f"There is no other host named {host_name}."
            raise InvalidError(why, fields={"host": [why]})
        if not fit.fits:
            why = f"{fit.host} cannot take {machine.name}: {' '.join(fit.reasons)}"
            raise NoRoomError(why, fields={"host": [why]})
    if method in (Move.Method.LIVE, Move.Method.SUSPENDED) and fit.method not in (method, Move.Method.LIVE):
        why = fit.method_why or "It is off, so it moves switched off."
        raise opening.ActionRefusedError(why, fields={"method": [why]})
    return fit


def _reasons(found: list[Fit]) -> str:
    named = [f"{fit.host}: {' '.join(fit.reasons)}" for fit in found[:NAMED_HOSTS]]
    if (left := len(found) - len(named)) > 1:
        named.append(f"{left} more hosts cannot take it either.")
    return " ".join(named) or "there is no other host."


def _stays_on(machine: Machine, fit: Fit) -> opening.ActionRefusedError:
    why = (
        f"{fit.method_why} {machine.name} would be off for about {minutes(fit.away_seconds)}: if that is"
        " fine, ask for the method cold (“Switched off”)."
    )
    return opening.ActionRefusedError(why, fields={"method": [why]})
