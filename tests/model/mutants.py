"""Mutation tests: deliberate bugs in the product that the model must detect.

Each mutant is a plausible mistake in one function. `sown` installs it for one run and removes it again; no
other test may modify the product's functions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from webxen.jobs import operations, orders, queries
from webxen.jobs import settlement as settling
from webxen.jobs.models import Job
from webxen.quotas import operations as quotas
from webxen.quotas.models import Quota, Reservation
from worker.agent import executor as obeying
from worker.agent import recovery
from worker.guest import boot, domains, machine_files, power, provision
from worker.job.journal import Journal
from worker.xen import xl

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Mutant:
    name: str
    #: (object, attribute, function that builds the replacement from the original)
    changes: tuple[tuple[Any, str, Wrap], ...]
    #: what else must be disabled, e.g. a database constraint
    sql: str = ""


def _always(value: Any) -> Wrap:
    return lambda _real: lambda *_args, **_kwargs: value


def _lowest_fence(real: Callable[..., Any]) -> Callable[..., Any]:
    def order_for(job: Job, *rest: Any) -> Any:
        job.fence = 0
        return real(job, *rest)

    return order_for


def _release_again(_real: Callable[..., Any]) -> Callable[..., Any]:
    def release(*, holder: Any, now: Any) -> bool:
        held = Reservation.objects.get(holder=holder)
        Reservation.objects.filter(holder=holder).update(status="RELEASED", released_at=now)
        Quota.objects.filter(id=held.quota_id).update(machines_reserved=F("machines_reserved") - 1)
        return True

    return release


def _believe_any_host(_real: Callable[..., Any]) -> Callable[..., Any]:
    def reported_job(*, host: Any, news: Any) -> Any:
        return Job.objects.select_related("machine", "host").filter(id=news.job_id).first()

    return reported_job


def _undo_with_disks(_real: Callable[..., Any]) -> Callable[..., Any]:
    def undo(work: Any) -> None:
        disks = tuple((disk.pool, disk.id) for disk in work.machine.disks)
        machine_files.remove(work.dom0, work.machine.id, disks)

    return undo


def _effect_first(real: Callable[..., Any]) -> Callable[..., Any]:
    """The journal learns of a domain only when the job ends."""

    def write(self: Journal, entry: Any, **how: Any) -> None:
        if entry.state != "RUNNING" or not entry.marks:
            real(self, entry, **how)

    return write


def _unreadable_is_none(real: Callable[..., Any]) -> Callable[..., Any]:
    def domain(self: xl.Xl, uuid: str) -> Any:
        try:
            return real(self, uuid)
        except xl.XlError:
            return None

    return domain


def _delete_without_stopping(real: Callable[..., Any]) -> Callable[..., Any]:
    def delete(work: Any) -> str:
        stop, domains.destroy = domains.destroy, lambda *_args, **_kwargs: False
        try:
            return str(real(work))
        finally:
            domains.destroy = stop

    return delete


def _create_anew(_real: Callable[..., Any]) -> Callable[..., Any]:
    """Start without looking whether an earlier attempt started it, under a name of its own."""

    def start_domain(work: Any, path: Any) -> None:
        text = path.read_text().replace(work.machine.domain, f"{work.machine.domain}-{work.entry.attempts}")
        path.write_text(text)
        work.console_start = 0
        work.mark(domain="made", console_start="0")
        work.dom0.xl.create(path)

    return start_domain


def _acts(kind: str, **changed: Any) -> tuple[Any, str, Wrap]:
    act = obeying.ACTS[kind]
    values = {**{name: getattr(act, name) for name in act.__dataclass_fields__}, **changed}
    return obeying.ACTS, kind, lambda _real: type(act)(**values)  # type: ignore[return-value]


def _only_files(work: Any) -> None:
    marks = {key: value for key, value in work.entry.marks.items() if key != "domain"}
    work.entry.marks = marks
    provision.undo(work)


MUTANTS = (
    Mutant("the host ignores the fence", ((obeying, "read_fence", _always(-1)),)),
    Mutant(
        "two jobs may be open for a machine",
        ((queries, "open_job_of", _always(None)),),
        sql='DROP INDEX "one_open_job_per_machine"',
    ),
    Mutant(
        "a failed start takes the disk with it", (_acts("START", undo=_undo_with_disks(power.undo_start)),)
    ),
    Mutant(
        "the journal is not read at the start",
        ((Journal, "entries", _always([])), (Journal, "read", _always(None))),
    ),
    Mutant("quota is released twice", ((quotas, "release", _release_again),)),
    Mutant("orders are sent with the lowest fence", ((orders, "order_for", _lowest_fence),)),
    Mutant("a report of another host is believed", ((queries, "reported_job", _believe_any_host),)),
    Mutant("the journal is written after the effect", ((Journal, "write", _effect_first),)),
    Mutant("a list that cannot be read means no domains", ((xl.Xl, "domain", _unreadable_is_none),)),
    Mutant("a delete leaves the domain", (_acts("DELETE", do=_delete_without_stopping(power.delete)),)),
    Mutant("nothing is sent again", ((operations, "_send_again", _always(0)),)),
    Mutant(
        "a start does not look first",
        ((boot, "start_domain", _create_anew), (domains, "is_up", _always(False))),
    ),
    Mutant("a failed create leaves its quota held", ((settling, "give_back", _always(None)),)),
    Mutant("a failed create is not undone", (_acts("CREATE", undo=power.leave),)),
    Mutant("nobody continues what was begun", ((recovery.Reconciler, "look", _always(None)),)),
    Mutant("an undo forgets the domain", (_acts("CREATE", undo=_only_files),)),
)


@contextmanager
def sown(mutant: Mutant | None) -> Iterator[None]:
    """Run with this mutant installed."""
    if mutant is None:
        yield
        return
    before = [(where, name, _get(where, name)) for where, name, _ in mutant.changes]
    for (where, name, wrap), (_, _, real) in zip(mutant.changes, before, strict=True):
        _put(where, name, wrap(real))
    try:
        with transaction.atomic():
            if mutant.sql:
                with connection.cursor() as cursor:
                    cursor.execute(mutant.sql)
            yield
            transaction.set_rollback(True)
    finally:
        for where, name, real in before:
            _put(where, name, real)


def _get(where: Any, name: str) -> Any:
    return where[name] if isinstance(where, dict) else getattr(where, name)


def _put(where: Any, name: str, value: Any) -> None:
    if isinstance(where, dict):
        where[name] = value
    else:
        setattr(where, name, value)
