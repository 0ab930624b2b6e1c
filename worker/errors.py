"""What can go wrong on a dom0, each with the code the portal stores and a sentence for the owner.

Lives here: the exception classes. When each is raised, and with which words, belongs to the verbs.
"""

import secrets


class WorkerError(Exception):
    """A foreseen failure. Its text is one clear sentence with the cure, fit for the owner's eyes."""

    code = "INTERNAL_ERROR"
    #: may the same order work when it is given again without a change?
    is_retryable = False


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
    """Somebody took the order back while it was carried out; what it had made is undone."""

    code = "CANCELLED"


class JournalUnwritable(WorkerError):
    """The host cannot write down what it is about to do, so it does nothing."""

    code = "JOURNAL_UNWRITABLE"
    is_retryable = True


class GaveUp(WorkerError):
    """The job was begun several times and the worker was stopped in each of them."""

    code = "TOO_MANY_ATTEMPTS"


class Internal(WorkerError):
    """An error that nobody foresaw; the worker's log has the traceback beside `reference`."""

    code = "INTERNAL_ERROR"

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.reference = secrets.token_hex(8)


class TemplateMissing(WorkerError):
    code = "IMAGE_MISSING"


class TemplateDigest(WorkerError):
    code = "IMAGE_DIGEST"


class TemplateUnusable(WorkerError):
    """The template is there and is what was ordered, but no disk can be made of it."""

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
    """There is already a disk of that name which this job did not make."""

    code = "DISK_TAKEN"


class DiskFailed(WorkerError):
    code = "DISK_FAILED"
    is_retryable = True


class PoolMisconfigured(WorkerError):
    """A pool that several hosts see is not set up as it must be; nothing is done in it."""

    code = "POOL_MISCONFIGURED"


class PoolBusy(WorkerError):
    """Another host is changing the shared pool, or died while it did."""

    code = "POOL_BUSY"
    is_retryable = True


class LeaseHeld(WorkerError):
    """The machine's disks are another host's: whatever this host was about to do would be a second copy."""

    code = "LEASE_HELD"


class LeaseUnreadable(WorkerError):
    """Whose the machine's disks are cannot be read, so nothing is started and nothing is removed."""

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
    """The domain ended while its start was being watched."""

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
    """This machine cannot move in this way, or not to this host; nothing was begun."""

    code = "MOVE_REFUSED"


class RelayAway(WorkerError):
    """This host's relay service, or the other host's, cannot be reached; nothing was begun."""

    code = "RELAY_AWAY"
    is_retryable = True


class MoveFailed(WorkerError):
    """The move came to nothing; the machine is where it was."""

    code = "MOVE_FAILED"
    is_retryable = True


class CopyDiffers(WorkerError):
    """What was written to a disk and read back is not what the other host has read. It is thrown away."""

    code = "COPY_DIFFERS"
    is_retryable = True


class MoveUnknown(WorkerError):
    """The move broke off where this host alone cannot say where the machine is. Nothing is touched."""

    code = "MOVE_UNKNOWN"


class VerdictContradicted(WorkerError):
    """What the portal says of a move is not what this host sees. Nothing is touched."""

    code = "OUTCOME_CONTRADICTED"


class DomainWillNotGo(WorkerError):
    """A domain is still listed after it was destroyed."""

    code = "DOMAIN_NOT_DESTROYED"
    is_retryable = True
