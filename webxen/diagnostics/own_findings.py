"""Findings of `verify` about the portal itself, without comparing it with a host, and one correction."""

from collections.abc import Iterator
from datetime import datetime

from django.conf import settings

from webxen.core import portal_key
from webxen.core.messages import Message
from webxen.diagnostics.findings import Finding
from webxen.inventory import queries as inventory
from webxen.inventory.models import Pool
from webxen.jobs.models import RoundFailure
from webxen.machines.models import Machine

#: from these percentages on, staff is informed that a pool is filling up or full
FILLING_PERCENT, FULL_PERCENT = 80, 90


def find(*, now: datetime) -> Iterator[Finding]:
    """Yield problems of the portal itself."""
    yield from _portal_key()
    yield from _failed_and_running()
    yield from _kept_seeds()
    yield from _failing_rounds()
    yield from _filling_pools(now)


def _portal_key() -> Iterator[Finding]:
    path = settings.WEBXEN_PORTAL_KEY_FILE
    if portal_key.why_unusable(path):
        yield Finding("PORTAL_KEY_UNUSABLE", Message("PORTAL_KEY_UNUSABLE", path=path))


def _failed_and_running() -> Iterator[Finding]:
    failed = Machine.objects.filter(state=Machine.State.FAILED).exclude(host=None).select_related("host")
    for machine in failed.filter(power__in=(Machine.Power.RUNNING, Machine.Power.PAUSED)):
        said = Message("MACHINE_FAILED_RUNS", name=machine.name, state=machine.power, host=machine.host)
        yield Finding("MACHINE_FAILED_RUNS", said, (str(machine.host),), machine.name, str(machine.id))


def _kept_seeds() -> Iterator[Finding]:
    """Machines that are not being created but still have a seed with the password's hash."""
    being_made = (Machine.State.PENDING, Machine.State.BUILDING)
    for machine in Machine.objects.exclude(state__in=being_made).exclude(seed=None).select_related("host"):
        said = Message("SEED_KEPT", name=machine.name)
        at = (str(machine.host),) if machine.host else ()
        yield Finding("SEED_KEPT", said, at, machine.name, str(machine.id), target=str(machine.id))


def drop_seed(*, machine_id: str) -> str:
    """Delete a seed that is not needed; return what was done, or "" if there is none."""
    being_made = (Machine.State.PENDING, Machine.State.BUILDING)
    kept = Machine.objects.filter(id=machine_id).exclude(state__in=being_made).exclude(seed=None)
    return Message("MENDED_SEED") if kept.update(seed=None) else ""


def _failing_rounds() -> Iterator[Finding]:
    for failure in RoundFailure.objects.all():
        said = Message(
            "ROUND_FAILS", step_name=failure.step, about=failure.about, n=failure.times, error=failure.error
        )
        yield Finding("ROUND_FAILS", said)


def _filling_pools(now: datetime) -> Iterator[Finding]:
    rows = Pool.objects.filter(host__state__in=inventory.ACCEPTED).order_by("host__name", "name")
    believed = list(rows.select_related("host").defer(*inventory.all_it_says()))
    spaces = inventory.spaces(pools=believed, now=now)
    for pool in believed:
        space = spaces[pool.id]
        if space.filled_percent < FILLING_PERCENT:
            continue
        said = Message(
            "POOL_FILLING",
            pool=pool.name,
            host=pool.host,
            free_mib=space.free_mib,
            total_mib=space.total_mib,
            reserved_mib=space.promised_mib,
            limit_mib=space.limit_mib,
        )
        code = "POOL_FULL" if space.filled_percent >= FULL_PERCENT else "POOL_FILLING"
        yield Finding(code, said, (str(pool.host),))
