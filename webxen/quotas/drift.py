"""Compare a quota's columns, reservations and ledger entries with what machines should hold. Pure.

Differences are only reported; operations.settle_drift corrects them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


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


#: format of each resource in messages
SAID: dict[str, str] = {
    "machines": "{} machines",
    "vcpus": "{} vCPUs",
    "memory_mib": "{} MiB memory",
    "disk_gib": "{} GiB disk",
    "running_vcpus": "{} vCPUs running",
    "running_memory_mib": "{} MiB memory running",
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
    sentence: str


def compare(
    *, books: Iterable[Books], shares: Mapping[UUID, Share], held: Mapping[UUID, Held]
) -> list[Drift]:
    """Return every difference, those within the quotas first."""
    found = [drift for book in books for drift in _within(book)]
    for holder, share in shares.items():
        found += _beside(share, held.get(holder))
    for holder, machine in held.items():
        if holder not in shares and not machine.may_hold_nothing:
            sentence = f"{machine.name} exists and holds nothing of its project's quota."
            found.append(Drift(What.MACHINE_HOLDS_NOTHING, "", machine.project_id, holder, sentence))
    return found


def _within(book: Books) -> list[Drift]:
    found = []
    for what, word, sums in (
        (What.COLUMNS_AND_RESERVATIONS, "its reservations hold", book.reservations),
        (What.COLUMNS_AND_ENTRIES, "its ledger adds up to", book.entries),
    ):
        differs = [name for name, number in book.columns.items() if number != sums[name]]
        if differs:
            theirs = f"{word} {_list(sums, differs)}"
            sentence = f"The quota of {book.project} counts {_list(book.columns, differs)}; {theirs}."
            found.append(Drift(what, book.project, book.project_id, None, sentence))
    return found


def _beside(share: Share, machine: Held | None) -> list[Drift]:
    def drift(what: What, sentence: str) -> list[Drift]:
        return [Drift(what, share.project, share.project_id, share.holder, sentence)]

    if machine is None:
        return drift(
            What.HOLDS_WITHOUT_MACHINE, f"{share.holder} holds {_say(share)}, and there is no such machine."
        )
    found = []
    if _say(share) != _say(machine):
        found += drift(What.FIGURES, f"{machine.name} has {_say(machine)}; held for it are {_say(share)}.")
    if machine.is_running is not None and machine.is_running != share.is_running:
        sentence = f"{machine.name} is off and is counted as running."
        if machine.is_running:
            sentence = f"{machine.name} runs and is not counted as running."
        found += drift(What.RUNNING, sentence)
    return found


def _say(it: Share | Held) -> str:
    return _list(vars(it), ("vcpus", "memory_mib", "disk_gib"))


def _list(numbers: Mapping[str, int], names: Iterable[str]) -> str:
    return ", ".join(SAID[name].format(numbers[name]) for name in names)
