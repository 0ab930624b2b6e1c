"""The messages between the portal and a dom0: orders down, reports and observations up.

Lives here: frozen dataclasses, queue and task names, Redis key names, the signed envelope. Standard
library only: both sides import this module and nothing else of one another. Keys and ciphers do not
live here; `seal` and `open_envelope` take the signing functions from the caller.
"""

import base64
import dataclasses
import json
import secrets
import types
import typing
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

PROTOCOL_VERSION = 1

TASK_OBEY = "worker.obey"
TASK_REPORT = "webxen.report"
TASK_OBSERVATION = "webxen.observation"
QUEUE_REPORTS = "reports"

#: An envelope larger than this is dropped unread (bytes).
MAX_ENVELOPE_BYTES = 1 << 20


def queue_for(host: str) -> str:
    """Name of the Celery queue only `host` reads."""
    return f"dom0.{host}"


def console_out_key(host: str, machine_id: str) -> str:
    """Redis stream of console bytes from the machine; entries {"o": offset, "d": bytes}."""
    return f"dom0.{host}.console.{machine_id}.out"


def console_in_key(host: str, machine_id: str) -> str:
    """Redis stream of bytes typed at the machine; entries {"d": bytes}."""
    return f"dom0.{host}.console.{machine_id}.in"


def console_state_key(host: str, machine_id: str) -> str:
    """Redis hash: state (attached, detached), reason, end (offset after the last byte), start."""
    return f"dom0.{host}.console.{machine_id}.state"


class BadEnvelope(Exception):
    """The envelope must not be obeyed; the text says why and holds nothing secret."""


# --- what a machine is made of -----------------------------------------------------------------


@dataclass(frozen=True)
class ImageSpec:
    """A template the host keeps in its image store."""

    #: name of the file below the host's images directory, e.g. "minimal-1.ext4" or "debian-13.tar.gz"
    file: str
    #: hex digest the file must have
    sha256: str
    #: FILESYSTEM: a bare ext4 image; TARBALL: a root tarball; DISK: a partitioned raw disk
    format: Literal["FILESYSTEM", "TARBALL", "DISK"]
    #: FILES: written into the fresh file system before the first boot; NOCLOUD: a seed ISO; NONE
    seed: Literal["FILES", "NOCLOUD", "NONE"] = "FILES"
    #: names below the host's kernels directory; "" where the image boots itself
    kernel: str = ""
    ramdisk: str = ""
    root: str = "/dev/xvda ro"
    extra: str = "console=hvc0"
    #: virtual device of the first disk: xvda, or what an old guest's fstab names, e.g. xvda1, hda1
    vdev: str = "xvda"


@dataclass(frozen=True)
class DiskSpec:
    id: str
    pool: str
    size_mib: int
    vdev: str


@dataclass(frozen=True)
class NicSpec:
    mac: str
    bridge: str
    ipv4: str = ""
    prefix: int = 0
    gateway: str = ""
    nameserver: str = ""


@dataclass(frozen=True)
class SeedSpec:
    hostname: str
    ssh_keys: tuple[str, ...] = ()
    #: crypt(3) hash ($6$…), never the password itself
    password_hash: str = ""
    user_data: str = ""


@dataclass(frozen=True)
class MachineSpec:
    id: str
    #: what xl calls it
    domain: str
    vcpus: int
    memory_mib: int
    disks: tuple[DiskSpec, ...]
    nics: tuple[NicSpec, ...]
    image: ImageSpec
    #: AUTO: PVH where the host's virt_caps has hvm and hap, PV otherwise
    type: Literal["AUTO", "PV", "PVH"] = "AUTO"


# --- orders ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """Something a dom0 is asked to do. `job_id` is also the Celery task id."""

    kind: ClassVar[str] = ""
    job_id: str
    #: the highest fence seen for a machine wins; a lower one is refused
    fence: int


@dataclass(frozen=True)
class CreateMachine(Order):
    kind: ClassVar[str] = "CREATE"
    machine: MachineSpec
    seed: SeedSpec
    deadline_seconds: int = 600


@dataclass(frozen=True)
class StartMachine(Order):
    kind: ClassVar[str] = "START"
    machine: MachineSpec
    deadline_seconds: int = 300
    #: the host whose lease of the disks this start may break: only once it is proven to be off
    takes_over_from: str = ""


@dataclass(frozen=True)
class ShutdownMachine(Order):
    """Ask the guest to power off; FAILED with GUEST_IGNORED_SHUTDOWN when it does not in time."""

    kind: ClassVar[str] = "SHUTDOWN"
    machine: MachineSpec
    deadline_seconds: int = 180


@dataclass(frozen=True)
class PoweroffMachine(Order):
    """Pull the plug (xl destroy). Disks stay."""

    kind: ClassVar[str] = "POWEROFF"
    machine: MachineSpec
    deadline_seconds: int = 120


@dataclass(frozen=True)
class RebootMachine(Order):
    kind: ClassVar[str] = "REBOOT"
    machine: MachineSpec
    deadline_seconds: int = 300


@dataclass(frozen=True)
class DeleteMachine(Order):
    """Pull the plug if need be, then remove the disks listed, the config and nothing else."""

    kind: ClassVar[str] = "DELETE"
    machine: MachineSpec
    deadline_seconds: int = 300


@dataclass(frozen=True)
class CancelJob(Order):
    """Take an order back: `job_id` and `fence` are those of the job that is to end.

    Not carried out yet: it never will be. Under way: broken off at its next safe point and undone.
    Where that cannot be, or it has ended, the host says so.
    """

    kind: ClassVar[str] = "CANCEL"
    machine: MachineSpec
    deadline_seconds: int = 30


# --- moving a machine to another host ----------------------------------------------------------

#: LIVE: it runs while its memory is copied; SUSPENDED: it stands still from the first byte to the last;
#: COLD: it is off, and disks that the target does not see are carried over
MoveMethod = Literal["LIVE", "SUSPENDED", "COLD"]
MoveSide = Literal["SOURCE", "TARGET"]
MoveVerdict = Literal["MOVED", "STAYED"]


@dataclass(frozen=True)
class ReceiveMachine(Order):
    """To the target: wait for this one machine from this one host, and take it in.

    Its id is that of the MIGRATE order: one move is one job with a part on either host.
    """

    kind: ClassVar[str] = "RECEIVE"
    machine: MachineSpec
    #: name of the host it comes from
    source: str
    #: PEM of the source's relay certificate: nobody else may connect
    certificate: str
    method: MoveMethod = "LIVE"
    deadline_seconds: int = 1800
    #: COLD: ids of the disks that are carried over; the others are seen from both hosts
    copied: tuple[str, ...] = ()
    #: COLD: it is shut down on the source first, and started on the target when all is there
    restarts: bool = False


@dataclass(frozen=True)
class MigrateMachine(Order):
    """To the source, once the target listens: send the machine over."""

    kind: ClassVar[str] = "MIGRATE"
    machine: MachineSpec
    #: name of the host it goes to
    target: str
    #: where the target's relay listens (an IP address), and its certificate (PEM)
    address: str
    port: int
    certificate: str
    method: MoveMethod = "LIVE"
    #: 0: as fast as it goes
    rate_mib_s: int = 0
    deadline_seconds: int = 1800
    #: as the target was told
    copied: tuple[str, ...] = ()
    restarts: bool = False


def settle_job_id(move_job_id: str, side: MoveSide, attempt: int = 0) -> str:
    """Name the job that settles one side of a move: another attempt is another job."""
    return str(uuid.uuid5(uuid.UUID(move_job_id), f"settle {side} {attempt}"))


def discard_job_id(move_job_id: str, attempt: int = 0) -> str:
    """Name the job in which the source lets the disks go that it has kept."""
    return str(uuid.uuid5(uuid.UUID(move_job_id), f"discard {attempt}"))


@dataclass(frozen=True)
class SettleMove(Order):
    """To either side: the portal has compared both hosts and says where the machine is.

    `job_id` is `settle_job_id(…)`; the fence is the move's. The host looks again, refuses a verdict that
    contradicts what it sees, and otherwise cleans up. It may be given at any time after a move's end.
    """

    kind: ClassVar[str] = "SETTLE_MOVE"
    machine: MachineSpec
    move_job_id: str
    side: MoveSide
    verdict: MoveVerdict
    deadline_seconds: int = 120
    #: SOURCE, MOVED: ids of the disks that were carried over and are no longer needed here. The only
    #: order by which a move removes a disk that was whole
    discards: tuple[str, ...] = ()


# --- what comes back ---------------------------------------------------------------------------

#: how a job ends
ENDS = ("SUCCEEDED", "FAILED", "CANCELLED")

Power = Literal["RUNNING", "PAUSED", "SUSPENDED", "OFF", "CRASHED", "UNKNOWN"]


@dataclass(frozen=True)
class DomainSeen:
    domain: str
    uuid: str
    domid: int
    power: Power
    memory_mib: int
    vcpus: int
    cpu_seconds: float = 0.0


#: how far a move has come, in this order, as one host's relay knows it
MovePhase = Literal["NONE", "CONNECTED", "STREAM", "READY", "GO", "REPORTED"]
MOVE_PHASES: tuple[MovePhase, ...] = typing.get_args(MovePhase)


@dataclass(frozen=True)
class MoveFacts:
    """What one host knows of a move. The verdict is made of both hosts' facts, never of one's."""

    #: the move's job, also where it is told by the job that settles it
    job_id: str
    side: MoveSide
    #: the furthest point in this relay's own journal
    phase: MovePhase = "NONE"
    #: this relay has let the word pass after which the target runs the machine (on disk before it passed)
    go_passed: bool = False
    #: this relay lets no such word pass any more, whatever comes (on disk before it is told)
    closed: bool = False
    #: every domain of this machine on this host: NAME, NAME--incoming, NAME--migratedaway; None: not readable
    domains: tuple[DomainSeen, ...] | None = None
    #: all disks of the machine can be seen from this host
    disks_visible: bool = False
    #: where the target's relay listens for this move; 0 when it does not
    port: int = 0
    # how it goes
    bytes_sent: int = 0
    memory_mib: int = 0
    rate_mib_s: float = 0.0
    passes: int = 0
    #: -1: not known
    remaining_seconds: float = -1.0
    #: between the guest's stop on the source and the target's word that it runs; -1: not known
    blackout_ms: int = -1
    #: what is to be carried over: the data on its disks, or its memory; 0: not known
    total_mib: int = 0
    #: the target has seen it boot to its login prompt
    booted: bool = False


@dataclass(frozen=True)
class Report:
    """One piece of news about a job: STARTED, any number of STEP, then exactly one end."""

    kind: ClassVar[str] = "REPORT"
    job_id: str
    machine_id: str
    #: CANCEL_HEARD: the job goes on to a safe point, or to its end where `error_code` is TOO_LATE
    event: Literal["STARTED", "STEP", "CANCEL_HEARD", "SUCCEEDED", "FAILED", "CANCELLED"]
    #: DISK, SEED, CONFIG, DOMAIN, KERNEL, INIT, LOGIN … (see worker.steps of each verb)
    step: str = ""
    #: 0–100 over the whole job
    progress: int = 0
    #: counts up within a job on this host, so that late news moves nothing
    sequence: int = 0
    error_code: str = ""
    #: one clear sentence for the owner
    error_message: str = ""
    is_retryable: bool = False
    #: the last console lines, escape sequences stripped
    console_tail: str = ""
    #: the xl configuration a machine was started with, as text
    config: str = ""
    power: Power = "UNKNOWN"
    #: with the news and the end of RECEIVE, MIGRATE and SETTLE_MOVE
    move: MoveFacts | None = None


@dataclass(frozen=True)
class PoolSeen:
    name: str
    kind: Literal["FILE", "LVM"]
    total_mib: int
    free_mib: int
    #: two hosts that tell the same id see the same, shared, pool; "": not known
    id: str = ""
    #: staff made it one that several hosts see: a lease says which of them may open a machine's disks
    is_shared: bool = False


@dataclass(frozen=True)
class VolumeSeen:
    """A disk of ours on the host, whole or (`is_draft`) being made."""

    machine_id: str
    disk_id: str
    pool: str
    size_mib: int
    is_draft: bool = False


@dataclass(frozen=True)
class FenceSeen:
    """The highest fence this host has accepted for a machine."""

    machine_id: str
    fence: int


@dataclass(frozen=True)
class JobSeen:
    """A job the host has begun and not ended."""

    job_id: str
    machine_id: str


@dataclass(frozen=True)
class Holdings:
    """What lies on the host, for comparison with the portal's rows. Nothing acts on it."""

    volumes: tuple[VolumeSeen, ...] = ()
    #: pools whose volumes were listed: in any other a volume is not missing, only unseen
    pools: tuple[str, ...] = ()
    #: machines the host has a machine.json of
    machines: tuple[str, ...] = ()
    fences: tuple[FenceSeen, ...] = ()
    jobs: tuple[JobSeen, ...] = ()
    #: there is more than fits into an envelope: what is not listed may still be there
    is_cut: bool = False


@dataclass(frozen=True)
class Observation:
    """What a host says of itself, at start, on change and on a clock (10 s)."""

    kind: ClassVar[str] = "OBSERVATION"
    host: str
    #: `xl info` as printed, key by key, in its order
    facts: dict[str, str]
    pools: tuple[PoolSeen, ...]
    bridges: tuple[str, ...]
    #: None: the list could not be read, which is not "no domains"
    domains: tuple[DomainSeen, ...] | None
    #: image file names whose digest was checked, with the digest
    images: dict[str, str] = field(default_factory=dict)
    worker_version: str = ""
    #: machines whose disks or configs exist on this host, running or not
    machine_ids: tuple[str, ...] = ()
    #: None: this worker does not say
    holdings: Holdings | None = None
    #: fingerprints of the portal's keys this host trusts
    portal_keys: tuple[str, ...] = ()
    #: counts up over the host's whole life: an older word, replayed or late, is not believed. 0: not said
    serial: int = 0
    #: PEM by which this host's relay is known to the other end of a move; "": it has none
    relay_certificate: str = ""
    #: IP address at which other hosts reach this host's relay; "": none
    relay_address: str = ""
    #: names in its kernels directory; None: this worker does not say
    kernels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class PortalKeys:
    """Which keys of the portal a host shall trust from now on; in an envelope signed by one it trusts."""

    kind: ClassVar[str] = "PORTAL_KEYS"
    #: PEM, the one that signs first
    keys: tuple[str, ...]
    #: counts up: an older word, replayed, brings no key back
    serial: int


Message = Order | Report | Observation | PortalKeys
KINDS: dict[str, type[Message]] = {
    cls.kind: cls
    for cls in (
        CreateMachine,
        StartMachine,
        ShutdownMachine,
        PoweroffMachine,
        RebootMachine,
        DeleteMachine,
        ReceiveMachine,
        MigrateMachine,
        SettleMove,
        CancelJob,
        Report,
        Observation,
        PortalKeys,
    )
}

# --- to and from JSON --------------------------------------------------------------------------

T = TypeVar("T")


def encode(message: Message) -> dict[str, Any]:
    return {"kind": message.kind, **dataclasses.asdict(message)}


def decode(untrusted: object) -> Message:
    """Read a message; unknown fields are ignored. Raises BadEnvelope."""
    if not isinstance(untrusted, dict):
        raise BadEnvelope("the message is not an object")
    cls = KINDS.get(str(untrusted.get("kind")))
    if cls is None:
        raise BadEnvelope("the message is of an unknown kind")
    return _read(cls, untrusted, cls.__name__)


def _read(cls: type[T], untrusted: object, where: str) -> T:
    if not isinstance(untrusted, dict):
        raise BadEnvelope(f"{where} is not an object")
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for spec in dataclasses.fields(cls):  # type: ignore[arg-type]
        if spec.name in untrusted:
            values[spec.name] = _value(hints[spec.name], untrusted[spec.name], f"{where}.{spec.name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise BadEnvelope(f"{where}.{spec.name} is missing")
    return cls(**values)


def _value(hint: Any, untrusted: object, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return _one_of(typing.get_args(hint), untrusted, where)
    if origin is tuple:
        if not isinstance(untrusted, list | tuple):
            raise BadEnvelope(f"{where} is not a list")
        inner = typing.get_args(hint)[0]
        return tuple(_value(inner, item, f"{where}[]") for item in untrusted)
    if origin is dict:
        return _texts(untrusted, where)
    if origin is types.UnionType:
        options = [arg for arg in typing.get_args(hint) if arg is not types.NoneType]
        return None if untrusted is None else _value(options[0], untrusted, where)
    if dataclasses.is_dataclass(hint):
        return _read(typing.cast("type[Any]", hint), untrusted, where)
    return _scalar(hint, untrusted, where)


def _one_of(allowed: tuple[Any, ...], untrusted: object, where: str) -> Any:
    if not isinstance(untrusted, str) or untrusted not in allowed:
        raise BadEnvelope(f"{where} is none of {', '.join(map(str, allowed))}")
    return untrusted


def _texts(untrusted: object, where: str) -> dict[str, str]:
    if not isinstance(untrusted, dict):
        raise BadEnvelope(f"{where} is not an object")
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in untrusted.items()):
        raise BadEnvelope(f"{where} holds something other than text")
    return dict(untrusted)


def _scalar(hint: Any, untrusted: object, where: str) -> Any:
    # bool is an int in Python: memory_mib=true must not pass for 1
    if hint is float and isinstance(untrusted, int | float) and not isinstance(untrusted, bool):
        return float(untrusted)
    if hint in (int, str, bool) and type(untrusted) is hint:
        return untrusted
    raise BadEnvelope(f"{where} is not of type {getattr(hint, '__name__', hint)}")


# --- the signed envelope -----------------------------------------------------------------------


@dataclass(frozen=True)
class Opened:
    message: Message
    host: str
    nonce: str


def seal(
    message: Message, *, host: str, sign: Callable[[bytes], bytes], not_after: int, nonce: str = ""
) -> str:
    """Put a message into an envelope. `host`: whom an order is for, or who reports.

    `not_after` is Unix time in seconds. Everything that matters is inside what is signed: Celery's
    own headers (task name, id, eta) are not, and are not believed.
    """
    inner = json.dumps(
        {
            "v": PROTOCOL_VERSION,
            "host": host,
            "nonce": nonce or secrets.token_hex(16),
            "not_after": not_after,
            "message": encode(message),
        },
        separators=(",", ":"),
    )
    signature = base64.b64encode(sign(inner.encode())).decode()
    return json.dumps({"signed": inner, "signature": signature})


def open_envelope(
    untrusted: object, *, host: str | None, verify: Callable[[str, bytes, bytes], bool], now: int
) -> Opened:
    """Check an envelope and read the message in it. Raises BadEnvelope, and nothing else.

    `verify(host, signed, signature)` answers whether the signature is good. `host` given: the
    envelope must be for this host; None: any host that `verify` knows.
    """
    signed, signature = _split(untrusted)
    try:
        inner = json.loads(signed)
    except (ValueError, RecursionError):
        raise BadEnvelope("the signed part is not JSON") from None
    if not isinstance(inner, dict) or not isinstance(inner.get("host"), str):
        raise BadEnvelope("the signed part names no host")
    if host is not None and inner["host"] != host:
        raise BadEnvelope("the envelope is for another host")
    if not verify(inner["host"], signed.encode(), signature):
        raise BadEnvelope("the signature is not good")
    if inner.get("v") != PROTOCOL_VERSION:
        raise BadEnvelope(f"protocol version {inner.get('v')!r} is not {PROTOCOL_VERSION}")
    if type(inner.get("not_after")) is not int or inner["not_after"] < now:
        raise BadEnvelope("the envelope has expired")
    return Opened(decode(inner.get("message")), inner["host"], str(inner.get("nonce")))


def _split(untrusted: object) -> tuple[str, bytes]:
    if not isinstance(untrusted, str) or len(untrusted) > MAX_ENVELOPE_BYTES:
        raise BadEnvelope("the envelope is not text of a sensible size")
    try:
        outer = json.loads(untrusted)
        signature = base64.b64decode(outer["signature"], validate=True)
        signed = outer["signed"]
        signed.encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadEnvelope("the envelope is not readable") from None
    if not isinstance(signed, str):
        raise BadEnvelope("the envelope is not readable")
    return signed, signature
