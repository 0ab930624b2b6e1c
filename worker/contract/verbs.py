"""The table of verbs: one row for each thing a host can be asked to do with a machine.

Lives here: the rows and what they mean; nothing is done here. Both sides derive from them: the contract's
kinds, deadlines and shares of the bar; what may be asked of a machine, the power it has afterwards and what
can be cancelled; the API's routes, the buttons and burn-in. Written by hand for a verb: its row and order
class, the worker's function, its `xl` method with the stand-in's answer, its labels in both languages and
its lines in the documents. A test names what a row lacks (tests/conventions/test_verbs.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from worker.contract.moves import MigrateMachine, ReceiveMachine, SettleMove
from worker.contract.orders import (
    CreateMachine,
    DeleteMachine,
    Order,
    PoweroffMachine,
    RebootMachine,
    ShutdownMachine,
    StartMachine,
)

#: ACTION: `POST machines/{id}/<action>/` without a body, and a button. OWN: an address and a page of its own.
#: PORTAL: nobody asks for it; the portal gives this order as a part of another verb's job
AskedBy = Literal["ACTION", "OWN", "PORTAL"]
#: how long a job can be cancelled: until its end; until its host has begun it, because half of it is worse
#: than all of it; until the point of no return of a migration
Cancellable = Literal["ALWAYS", "UNTIL_BEGUN", "UNTIL_GO"]
#: who may ask: a member of the machine's project, or staff alone
Permission = Literal["MEMBER", "STAFF"]
#: what the screens do before: nothing; ask a question; ask for the machine's name
Loudness = Literal["PLAIN", "ASKS", "ASKS_NAME"]


@dataclass(frozen=True)
class Step:
    """A step of a job as its host reports it."""

    code: str
    #: percent of the whole job when it begins, and shortly before the next begins
    at: int
    until: int = 0

    def share(self, part: float) -> int:
        """Return the percentage of the whole job when this part (0 to 1) of the step is done."""
        return self.at + round(part * max(0, self.until - self.at))


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb. What a field means for a machine is enforced by `webxen.machines.lifecycle`."""

    order: type[Order]
    #: one sentence for the API's documentation
    purpose: str
    asked_by: AskedBy = "ACTION"
    #: how long a host may take; a migration's own depends on how much there is to carry over
    deadline_seconds: int
    #: settled states in which it may be asked; empty: the machine is not there yet, or nobody asks
    states: frozenset[str] = frozenset({"READY"})
    #: power in which it makes sense; empty: power does not matter
    powers: frozenset[str] = frozenset()
    #: may also be asked of a machine that failed and is seen with a domain: its owner can stop what runs
    stops_failed: bool = False
    #: power of the machine after it succeeded, where the host did not say; "": what it was
    power_after: str = ""
    #: events of `webxen.machines.lifecycle` when it is asked for, and when it failed or was never answered
    event_asked: str = ""
    event_failed: str = ""
    steps: tuple[Step, ...]
    #: the steps of a variant of the job, by its name
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cancellable: Cancellable = "ALWAYS"
    #: a worker killed in it too often gives the job up; otherwise to begin again is to look at what is left
    gives_up: bool = True
    #: ends with a login prompt, or with what its console said instead
    boots: bool = False
    #: an order whose execution nobody knows of after a restore is sent again rather than cancelled
    survives_restore: bool = False
    #: carried out by two hosts, in a lane of its own: it takes long and mostly waits
    has_two_hosts: bool = False
    permission: Permission = "MEMBER"
    loudness: Loudness = "ASKS"
    #: commands of `xl` without which it cannot be done
    xl: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Kind of the order, and of the job where it is one of its own: REBOOT."""
        return self.order.kind

    @property
    def action(self) -> str:
        """Its name in the API's addresses and in `allowed_actions`: reboot."""
        return self.kind.lower()

    @property
    def can_stop(self) -> bool:
        """Can a host that has begun it break it off? Otherwise it is finished."""
        return self.cancellable != "UNTIL_BEGUN"

    def step(self, code: str) -> Step:
        """Return a step; one that this verb does not have takes no share of the bar."""
        return next((step for step in (*self.steps, *COMMON) if step.code == code), Step(code, 0))


#: reported in every job: the order is checked; what a job without success made is removed
COMMON = (Step("ACCEPT", 1), Step("CLEANING", 99))
#: from `xl create` to the login prompt
BOOT = (Step("DOMAIN", 55, 70), Step("KERNEL", 75), Step("INIT", 85), Step("LOGIN", 98))
#: the data of a migration, as either host counts it, and the handing over
STREAM = (Step("STREAM", 10, 90), Step("READY", 90), Step("GO", 90), Step("REPORTED", 90))
RUNNING = frozenset({"RUNNING"})

ROWS: tuple[Verb, ...] = (
    Verb(
        order=CreateMachine,
        purpose="Make it.",
        asked_by="OWN",
        deadline_seconds=600,
        states=frozenset(),
        power_after="RUNNING",
        event_failed="BUILD_FAILED",
        steps=(
            Step("TEMPLATE", 2, 8),
            Step("DISK", 8, 40),
            Step("SEED", 42),
            Step("CONFIG", 50),
            *BOOT,
        ),
        boots=True,
        survives_restore=True,
        loudness="PLAIN",
        xl=("create", "destroy"),
    ),
    Verb(
        order=StartMachine,
        purpose="Turn it on.",
        deadline_seconds=300,
        powers=frozenset({"OFF", "CRASHED"}),
        power_after="RUNNING",
        steps=(Step("CONFIG", 50), *BOOT),
        boots=True,
        loudness="PLAIN",
        xl=("create", "destroy"),
    ),
    Verb(
        order=ShutdownMachine,
        purpose="Ask the system in it to power off.",
        deadline_seconds=180,
        powers=RUNNING,
        stops_failed=True,
        power_after="OFF",
        steps=(Step("SHUTDOWN", 10), Step("GONE", 30)),
        xl=("shutdown", "destroy"),
    ),
    Verb(
        order=RebootMachine,
        purpose="Restart it.",
        deadline_seconds=300,
        powers=RUNNING,
        stops_failed=True,
        power_after="RUNNING",
        steps=(Step("REBOOT", 10), Step("DOMAIN", 40), *BOOT[1:]),
        boots=True,
        xl=("reboot",),
    ),
    Verb(
        order=MigrateMachine,
        purpose="Move it to another host.",
        asked_by="OWN",
        deadline_seconds=1800,
        powers=frozenset({"RUNNING", "OFF"}),
        steps=(
            Step("CHECK", 2),
            Step("LISTENING", 5),
            Step("CONNECT", 5),
            *STREAM,
        ),
        # a cold one carries disks over; what ran is shut down meanwhile and booted on the target
        variants={
            "COLD": ("CHECK", "LISTENING", "CONNECT", "STREAM", "READY", "GO"),
            "COLD_RESTARTS": (
                *("CHECK", "LISTENING", "CONNECT", "STREAM", "SHUTDOWN", "GONE", "READY", "GO"),
                *(step.code for step in BOOT),
            ),
        },
        cancellable="UNTIL_GO",
        gives_up=False,
        has_two_hosts=True,
        permission="STAFF",
        xl=("migrate", "save", "rename", "unpause", "resume", "destroy"),
    ),
    Verb(
        order=PoweroffMachine,
        purpose="Pull the plug.",
        deadline_seconds=120,
        # the way out where nothing is known
        powers=frozenset({"RUNNING", "PAUSED", "CRASHED", "SUSPENDED", "UNKNOWN"}),
        stops_failed=True,
        power_after="OFF",
        steps=(Step("DOMAIN", 20),),
        cancellable="UNTIL_BEGUN",
        xl=("destroy",),
    ),
    Verb(
        order=DeleteMachine,
        purpose="Pull the plug, then remove its disks for good.",
        asked_by="OWN",
        deadline_seconds=300,
        states=frozenset({"READY", "FAILED"}),
        event_asked="DELETE_ASKED",
        event_failed="DELETE_FAILED",
        steps=(Step("DOMAIN", 10), Step("DISK", 50)),
        cancellable="UNTIL_BEGUN",
        loudness="ASKS_NAME",
        xl=("destroy",),
    ),
    Verb(
        order=ReceiveMachine,
        purpose="The target's part of a migration.",
        asked_by="PORTAL",
        deadline_seconds=1800,
        states=frozenset(),
        steps=(
            *(Step("CHECK", 2), Step("LISTEN", 4), Step("LISTENING", 5), *STREAM),
            # a cold one is booted here
            *(Step("CONFIG", 50), *BOOT),
        ),
        cancellable="UNTIL_GO",
        gives_up=False,
        has_two_hosts=True,
        permission="STAFF",
        loudness="PLAIN",
        xl=("migrate-receive", "restore", "destroy"),
    ),
    Verb(
        order=SettleMove,
        purpose="The end of a migration on either host, once the portal knows where the machine is.",
        asked_by="PORTAL",
        deadline_seconds=120,
        states=frozenset(),
        steps=(Step("SETTLE", 30),),
        cancellable="UNTIL_BEGUN",
        gives_up=False,
        permission="STAFF",
        loudness="PLAIN",
        xl=("destroy", "unpause", "rename"),
    ),
)

VERBS: dict[str, Verb] = {verb.kind: verb for verb in ROWS}
#: kinds that a job can have
JOB_KINDS: tuple[str, ...] = tuple(verb.kind for verb in ROWS if verb.asked_by != "PORTAL")
#: what is asked by an address and a button alone, by its name there
ACTIONS: dict[str, Verb] = {verb.action: verb for verb in ROWS if verb.asked_by == "ACTION"}
