"""Remove a host if it has no machines."""

from datetime import datetime
from uuid import UUID

from webxen.accounts.models import User
from webxen.core.errors import NotFoundError, UserError
from webxen.core.messages import Message
from webxen.enrolment import joining
from webxen.inventory.models import Host
from webxen.machines.models import Machine


class HostInUseError(UserError):
    """The host still has machines."""

    code = "HOST_IN_USE"


def remove_host(*, staff: User, host_id: UUID, now: datetime) -> Host:
    """Remove a host permanently: its key is not trusted any more and its broker account is deleted.

    Raises NotFoundError, HostInUseError, HostStateError.
    """
    if not staff.is_staff:
        raise NotFoundError
    here = Machine.objects.filter(host_id=host_id).exclude(state=Machine.State.DELETED).count()
    if here:
        raise HostInUseError(Message("HOST_IN_USE", n=here))
    return joining.remove(staff=staff, host_id=host_id, now=now)
