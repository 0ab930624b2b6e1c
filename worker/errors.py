"""The failures on a dom0: each has the code that the portal stores and a message for the owner."""

import secrets
from typing import Any

from worker.contract.texts import ENGLISH
from worker.contract.wording import as_plain


class WorkerError(Exception):
    """A foreseen failure: a message for the owner, which names the cure. As text it is English.

    `reason` is the message's code, `params` what is put into it, `details` the last words of a program.
    """

    code = "INTERNAL_ERROR"
    #: whether the same order may succeed when it is given again unchanged
    is_retryable = False

    def __init__(self, reason: str, /, *, details: str = "", **params: object) -> None:
        self.reason = reason
        self.params: dict[str, Any] = {name: as_plain(value) for name, value in params.items()}
        self.details = details
        super().__init__(ENGLISH.say(reason, self.params))


class OrderRefused(WorkerError):
    """A value in the order is outside what this host accepts."""

    code = "ORDER_REFUSED"


class Fenced(WorkerError):
    """A newer order for this machine was already accepted."""

    code = "FENCED"


class FenceUnreadable(WorkerError):
    """The file with the number of the machine's last order is damaged or older than the journal."""

    code = "FENCE_UNREADABLE"


class WorkerTooOld(WorkerError):
    """The order is signed by the portal, and this worker does not know its kind or one of its fields."""

    code = "WORKER_TOO_OLD"


class Cancelled(WorkerError):
    """The order was cancelled while it was executed; what it had made is undone."""

    code = "CANCELLED"


class JournalUnwritable(WorkerError):
    """The host cannot write its journal, so it does nothing."""

    code = "JOURNAL_UNWRITABLE"
    is_retryable = True


class GaveUp(WorkerError):
    """The worker was stopped during each of several attempts at the job."""

    code = "TOO_MANY_ATTEMPTS"


class Internal(WorkerError):
    """An unforeseen error; the worker's log has the traceback beside `reference`."""

    code = "INTERNAL_ERROR"

    def __init__(self, reason: str = "INTERNAL_ERROR", /, **params: object) -> None:
        self.reference = secrets.token_hex(8)
        if reason == "INTERNAL_ERROR":
            params["reference"] = self.reference
        super().__init__(reason, details="", **params)


class TemplateMissing(WorkerError):
    code = "IMAGE_MISSING"


class TemplateDigest(WorkerError):
    code = "IMAGE_DIGEST"


class TemplateUnusable(WorkerError):
    """The template is present and has the ordered digest, but no disk can be made from it."""

    code = "IMAGE_UNUSABLE"


class KernelMissing(WorkerError):
    code = "KERNEL_MISSING"


class PoolUnknown(WorkerError):
    code = "POOL_UNKNOWN"


class DiskFull(WorkerError):
    code = "DISK_FULL"
    is_retryable = True


class DiskTooSmall(WorkerError):
    code = "DISK_TOO_SMALL"


class DiskTaken(WorkerError):
    """A disk of that name exists and this job did not make it."""

    code = "DISK_TAKEN"


class DiskFailed(WorkerError):
    code = "DISK_FAILED"
    is_retryable = True


class PoolMisconfigured(WorkerError):
    """A shared pool is not set up as required; nothing is done in it."""

    code = "POOL_MISCONFIGURED"


class PoolBusy(WorkerError):
    """Another host is changing the shared pool, or died while it was changing it."""

    code = "POOL_BUSY"
    is_retryable = True


class LeaseHeld(WorkerError):
    """Another host holds the lease of the machine's disks; using them here could corrupt them."""

    code = "LEASE_HELD"


class LeaseUnreadable(WorkerError):
    """The lease of the machine's disks cannot be read, so nothing is started and nothing is removed."""

    code = "LEASE_UNREADABLE"
    is_retryable = True


class SeedFailed(WorkerError):
    code = "SEED_FAILED"


class ConfigRefused(WorkerError):
    """The configuration cannot be written safely, or Xen's own parser reads it differently."""

    code = "CONFIG_REFUSED"


class NameTaken(WorkerError):
    code = "NAME_TAKEN"


class NoMemory(WorkerError):
    code = "NO_MEMORY"
    is_retryable = True


class XlFailed(WorkerError):
    code = "XL_FAILED"


class XlUnreadable(WorkerError):
    """The list of domains could not be read, so nothing is started and nothing is deleted."""

    code = "XL_UNREADABLE"
    is_retryable = True


class GuestDied(WorkerError):
    """The domain ended while its start was watched."""

    code = "GUEST_DIED"


class NoLoginPrompt(WorkerError):
    code = "NO_LOGIN_PROMPT"


class DeadlinePassed(WorkerError):
    code = "DEADLINE"
    is_retryable = True


class GuestIgnoredShutdown(WorkerError):
    code = "GUEST_IGNORED_SHUTDOWN"
    is_retryable = True


class GuestIgnoredReboot(WorkerError):
    code = "GUEST_IGNORED_REBOOT"
    is_retryable = True


class MachineMissing(WorkerError):
    """The machine's disk is not on this host."""

    code = "MACHINE_MISSING"


class MachineOff(WorkerError):
    """The machine is off and the order needs it running."""

    code = "MACHINE_OFF"


class MoveRefused(WorkerError):
    """The machine cannot migrate in this way, or not to this host; nothing was begun."""

    code = "MOVE_REFUSED"


class RelayAway(WorkerError):
    """This host's relay service, or the other host's, cannot be reached; nothing was begun."""

    code = "RELAY_AWAY"
    is_retryable = True


class MoveFailed(WorkerError):
    """The migration failed; the machine is where it was."""

    code = "MOVE_FAILED"
    is_retryable = True


class CopyDiffers(WorkerError):
    """What was written to a disk and read back differs from what the other host read. The copy is removed."""

    code = "COPY_DIFFERS"
    is_retryable = True


class MoveUnknown(WorkerError):
    """The migration broke off, and this host alone cannot tell where the machine is. Nothing is changed."""

    code = "MOVE_UNKNOWN"


class VerdictContradicted(WorkerError):
    """The portal's outcome of a migration contradicts what this host sees. Nothing is changed."""

    code = "OUTCOME_CONTRADICTED"


class DomainWillNotGo(WorkerError):
    """A domain is still listed after it was destroyed."""

    code = "DOMAIN_NOT_DESTROYED"
    is_retryable = True
