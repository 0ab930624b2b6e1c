"""Choose the target of a migration by the user's options, or refuse. Reads only."""

from dataclasses import dataclass
from datetime import datetime

from webxen.core.errors import InvalidError
from webxen.core.messages import Message, tell_all, tell_of
from webxen.inventory.placement.choose import NAMED_HOSTS
from webxen.jobs import opening
from webxen.jobs.placing import NoRoomError
from webxen.machines.models import Machine
from webxen.migration import candidates
from webxen.migration.models import Move
from webxen.migration.precheck import Fit, away

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
        why: str = Message("METHOD_UNKNOWN", methods=[one.lower() for one in METHODS])
        raise InvalidError(why, fields={"method": [why]})
    if host_name is None:
        fit = candidates.choose(machine=machine, found=found, now=now)
        if fit is None:
            raise NoRoomError(Message("NO_HOST_CAN_TAKE", whys=_reasons(found)))
    else:
        fit = next((one for one in found if one.host == host_name), None)
        if fit is None:
            why = Message("NO_OTHER_HOST_NAMED", name=host_name)
            raise InvalidError(why, fields={"host": [why]})
        if not fit.fits:
            why = Message("HOST_CANNOT_TAKE", host=fit.host, name=machine.name, whys=list(fit.reasons))
            raise NoRoomError(why, fields={"host": [why]})
    if method in (Move.Method.LIVE, Move.Method.SUSPENDED) and fit.method not in (method, Move.Method.LIVE):
        why = fit.method_why or Message("MOVES_OFF_AS_IT_IS")
        raise opening.ActionRefusedError(why, fields={"method": [why]})
    return fit


def _reasons(found: list[Fit]) -> list[Message]:
    named = [tell_of(fit.host, tell_all(fit.reasons)) for fit in found[:NAMED_HOSTS]]
    if (left := len(found) - len(named)) > 1:
        named.append(Message("MORE_HOSTS_CANNOT", n=left))
    return named or [Message("NO_OTHER_HOST_THERE")]


def _stays_on(machine: Machine, fit: Fit) -> opening.ActionRefusedError:
    choose = Message("CHOOSE_SWITCHED_OFF", name=machine.name, away_seconds=away(fit.away_seconds))
    why = tell_all([fit.method_why, choose])
    return opening.ActionRefusedError(why, fields={"method": [why]})
