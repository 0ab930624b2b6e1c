"""Compare a quota's columns, reservations and ledger entries with what machines should hold. Pure.

Differences are only reported; operations.settle_drift corrects them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from webxen.core.messages import Message


@dataclass(frozen=True)
class Held:
    """What a machine should hold, passed in by the caller."""

    project_id: UUID
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    #: None: not known at present, or a job is changing it
    is_running: bool | None = None
    #: a machine whose creation failed has released its share; one whose deletion failed has not
    may_hold_nothing: bool = False


@dataclass(frozen=True)
class Share:
    """An open reservation."""

    project: str
    project_id: UUID
    holder: UUID
    vcpus: int
    memory_mib: int
    disk_gib: int
    is_running: bool


@dataclass(frozen=True)
class Books:
    """A quota's three sums, each by resource."""

    project: str
    project_id: UUID
    columns: Mapping[str, int]
    reservations: Mapping[str, int]
    entries: Mapping[str, int]


#: a resource's number as it is told: code and parameter
SAID: dict[str, tuple[str, str]] = {
    "machines": ("FIGURE_MACHINES", "count"),
    "vcpus": ("FIGURE_VCPUS", "count"),
    "memory_mib": ("FIGURE_MEMORY", "size_mib"),
    "disk_gib": ("FIGURE_DISK", "size_gib"),
    "running_vcpus": ("FIGURE_RUNNING_VCPUS", "count"),
    "running_memory_mib": ("FIGURE_RUNNING_MEMORY", "size_mib"),
}


class What(StrEnum):
    COLUMNS_AND_RESERVATIONS = "COLUMNS_AND_RESERVATIONS"
    COLUMNS_AND_ENTRIES = "COLUMNS_AND_ENTRIES"
    HOLDS_WITHOUT_MACHINE = "HOLDS_WITHOUT_MACHINE"
    MACHINE_HOLDS_NOTHING = "MACHINE_HOLDS_NOTHING"
    FIGURES = "FIGURES"
    RUNNING = "RUNNING"


@dataclass(frozen=True)
class Drift:
    """One difference. `project` is its slug, "" if not known."""

    what: What
    project: str
    project_id: UUID
    holder: UUID | None
    sentence: Message


def compare(
    *, books: Iterable[Books], shares: Mapping[UUID, Share], held: Mapping[UUID, Held]
) -> list[Drift]:
    """Return every difference, those within the quotas first."""
    found = [drift for book in books for drift in _within(book)]
    for holder, share in shares.items():
        found += _beside(share, held.get(holder))
    for holder, machine in held.items():
        if holder not in shares and not machine.may_hold_nothing:
            sentence = Message("DRIFT_MACHINE_HOLDS_NOTHING", name=machine.name)
            found.append(Drift(What.MACHINE_HOLDS_NOTHING, "", machine.project_id, holder, sentence))
    return found


def _within(book: Books) -> list[Drift]:
    found = []
    for what, code, sums in (
        (What.COLUMNS_AND_RESERVATIONS, "DRIFT_RESERVATIONS", book.reservations),
        (What.COLUMNS_AND_ENTRIES, "DRIFT_ENTRIES", book.entries),
    ):
        differs = [name for name, number in book.columns.items() if number != sums[name]]
        if differs:
            sentence = Message(
                code,
                project=book.project,
                counted=_list(book.columns, differs),
                recorded=_list(sums, differs),
            )
            found.append(Drift(what, book.project, book.project_id, None, sentence))
    return found


def _beside(share: Share, machine: Held | None) -> list[Drift]:
    def drift(what: What, sentence: Message) -> list[Drift]:
        return [Drift(what, share.project, share.project_id, share.holder, sentence)]

    if machine is None:
        return drift(
            What.HOLDS_WITHOUT_MACHINE, Message("DRIFT_NO_MACHINE", id=share.holder, held=_say(share))
        )
    found = []
    if _say(share) != _say(machine):
        found += drift(
            What.FIGURES, Message("DRIFT_FIGURES", name=machine.name, actual=_say(machine), held=_say(share))
        )
    if machine.is_running is not None and machine.is_running != share.is_running:
        sentence = Message("DRIFT_OFF_COUNTED", name=machine.name)
        if machine.is_running:
            sentence = Message("DRIFT_RUNS_UNCOUNTED", name=machine.name)
        found += drift(What.RUNNING, sentence)
    return found


def _say(it: Share | Held) -> list[Message]:
    return _list(vars(it), ("vcpus", "memory_mib", "disk_gib"))


def _list(numbers: Mapping[str, int], names: Iterable[str]) -> list[Message]:
    return [Message(code, **{name_in: numbers[name]}) for name in names for code, name_in in [SAID[name]]]
