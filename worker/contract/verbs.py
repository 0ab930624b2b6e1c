"""The table of verbs: one row for each operation that a host can be ordered to perform on a machine.

Both sides derive from it: the contract's kinds, deadlines and progress; when an operation is allowed, the
power it leads to and what can be cancelled; the API's routes, the buttons and burn-in. Written by hand for a
verb: its row and order class, the worker's function, its `xl` method with the stand-in's answer, its labels
in both languages and its lines in the documents. A test names what a row lacks
(tests/conventions/test_verbs.py).
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

#: ACTION: `POST machines/{id}/<action>/` without a body, and a button. OWN: a route and a page of its own.
#: PORTAL: not offered to users; the portal gives this order as a part of another verb's job.
AskedBy = Literal["ACTION", "OWN", "PORTAL"]
#: How long a job can be cancelled: until its end; until its host has begun it, because a half-finished one is
#: worse than a finished one; until the point of no return of a migration.
Cancellable = Literal["ALWAYS", "UNTIL_BEGUN", "UNTIL_GO"]
#: who may request it: a member of the machine's project, or staff only
Permission = Literal["MEMBER", "STAFF"]
#: what the user interface does first: nothing; asks a question; asks for the machine's name
Loudness = Literal["PLAIN", "ASKS", "ASKS_NAME"]


@dataclass(frozen=True)
class Step:
    """A step of a job as its host reports it."""

    code: str
    #: progress of the whole job in percent when the step begins, and shortly before the next one begins
    at: int
    until: int = 0

    def share(self, part: float) -> int:
        """The progress of the whole job in percent when this part (0 to 1) of the step is done."""
        return self.at + round(part * max(0, self.until - self.at))


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb; `webxen.machines.lifecycle` enforces what its fields mean for a machine."""

    order: type[Order]
    #: one sentence for the API's documentation
    purpose: str
    asked_by: AskedBy = "ACTION"
    #: how long a host may take; a migration's own deadline depends on the amount of data
    deadline_seconds: int
    #: settled states in which it is allowed; empty: the machine does not exist yet, or users do not request
    #: it
    states: frozenset[str] = frozenset({"READY"})
    #: power in which it is allowed; empty: power does not matter
    powers: frozenset[str] = frozenset()
    #: also allowed for a machine that failed and is seen with a domain, so that its owner can stop it
    stops_failed: bool = False
    #: power of the machine after success if the host did not report it; "": unchanged
    power_after: str = ""
    #: events of `webxen.machines.lifecycle`: on the request, and on failure or when no report came
    event_asked: str = ""
    event_failed: str = ""
    steps: tuple[Step, ...]
    #: the steps of a variant of the job, by its name
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cancellable: Cancellable = "ALWAYS"
    #: whether the job is given up after too many attempts; otherwise a further attempt only determines the
    #: outcome
    gives_up: bool = True
    #: ends with a login prompt, or with the last console lines instead
    boots: bool = False
    #: after a restored backup, an order of unknown outcome is sent again rather than cancelled
    survives_restore: bool = False
    #: executed by two hosts, in a queue of its own: it takes long and mostly waits
    has_two_hosts: bool = False
    permission: Permission = "MEMBER"
    loudness: Loudness = "ASKS"
    #: commands of `xl` that it needs
    xl: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Kind of the order, and of the job if it has one of its own, e.g. REBOOT."""
        return self.order.kind

    @property
    def action(self) -> str:
        """Its name in the API's routes and in `allowed_actions`, e.g. reboot."""
        return self.kind.lower()

    @property
    def can_stop(self) -> bool:
        """Whether a host that has begun it can stop it."""
        return self.cancellable != "UNTIL_BEGUN"

    def step(self, code: str) -> Step:
        """The step with this code; a step that this verb does not have starts at 0 percent."""
        return next((step for step in (*self.steps, *COMMON) if step.code == code), Step(code, 0))


#: reported in every job: the order is checked; what an unsuccessful job made is removed
COMMON = (Step("ACCEPT", 1), Step("CLEANING", 99))
#: from `xl create` to the login prompt
BOOT = (Step("DOMAIN", 55, 70), Step("KERNEL", 75), Step("INIT", 85), Step("LOGIN", 98))
#: the data of a migration as either host counts it, and the hand-over
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
        # a cold migration copies disks; a running machine is shut down meanwhile and booted on the target
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
        # allowed whenever the state is not known
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
            # a cold migration boots the machine on the target
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
#: verbs that have only a route and a button, by their name in the route
ACTIONS: dict[str, Verb] = {verb.action: verb for verb in ROWS if verb.asked_by == "ACTION"}
