"""The messages between the portal and a dom0: orders down, reports and observations up.

Lives here: frozen dataclasses, queue and task names, Redis key names, the signed envelope. Standard
library only. It is a room of its own, with one door: both sides import `worker.contract`, and nothing
else of one another. What concerns moves is in `moves`.
"""

from worker.contract.coding import (
    KINDS,
    BadEnvelope,
    Message,
    decode,
    encode,
)
from worker.contract.envelope import (
    MAX_ENVELOPE_BYTES,
    PROTOCOL_VERSION,
    Opened,
    OtherVersion,
    open_envelope,
    seal,
)
from worker.contract.machine import (
    DiskSpec,
    ImageSpec,
    MachineSpec,
    NicSpec,
    SeedSpec,
)
from worker.contract.moves import (
    MOVE_PHASES,
    MigrateMachine,
    MoveFacts,
    MoveMethod,
    MovePhase,
    MoveSide,
    MoveVerdict,
    ReceiveMachine,
    SettleMove,
    discard_job_id,
    settle_job_id,
)
from worker.contract.names import (
    QUEUE_REPORTS,
    TASK_OBEY,
    TASK_OBSERVATION,
    TASK_REPORT,
    console_in_key,
    console_out_key,
    console_state_key,
    queue_for,
)
from worker.contract.orders import (
    CancelJob,
    CreateMachine,
    DeleteMachine,
    Order,
    PortalKeys,
    PoweroffMachine,
    RebootMachine,
    ShutdownMachine,
    StartMachine,
)
from worker.contract.reports import (
    ENDS,
    Report,
)
from worker.contract.seen import (
    DomainSeen,
    FenceSeen,
    Holdings,
    JobSeen,
    Observation,
    PoolSeen,
    Power,
    VolumeSeen,
)

__all__ = (
    "ENDS",
    "KINDS",
    "MAX_ENVELOPE_BYTES",
    "MOVE_PHASES",
    "PROTOCOL_VERSION",
    "QUEUE_REPORTS",
    "TASK_OBEY",
    "TASK_OBSERVATION",
    "TASK_REPORT",
    "BadEnvelope",
    "CancelJob",
    "CreateMachine",
    "DeleteMachine",
    "DiskSpec",
    "DomainSeen",
    "FenceSeen",
    "Holdings",
    "ImageSpec",
    "JobSeen",
    "MachineSpec",
    "Message",
    "MigrateMachine",
    "MoveFacts",
    "MoveMethod",
    "MovePhase",
    "MoveSide",
    "MoveVerdict",
    "NicSpec",
    "Observation",
    "Opened",
    "Order",
    "OtherVersion",
    "PoolSeen",
    "PortalKeys",
    "Power",
    "PoweroffMachine",
    "RebootMachine",
    "ReceiveMachine",
    "Report",
    "SeedSpec",
    "SettleMove",
    "ShutdownMachine",
    "StartMachine",
    "VolumeSeen",
    "console_in_key",
    "console_out_key",
    "console_state_key",
    "decode",
    "discard_job_id",
    "encode",
    "open_envelope",
    "queue_for",
    "seal",
    "settle_job_id",
)
