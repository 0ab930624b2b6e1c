"""Reading for the console: may this person sit at this machine, and on which host is it."""

from uuid import UUID

from webxen.accounts.models import User
from webxen.machines import queries as machines


def host_of(*, user: User, machine_id: UUID) -> str | None:
    """Name of the host the machine is on; None when the person may not look, or no longer."""
    if not user.is_active:
        return None
    machine = machines.visible_to(user=user).filter(id=machine_id).first()
    return machine.host.name if machine is not None and machine.host is not None else None


def host_now(*, user_id: int, machine_id: UUID) -> str | None:
    """`host_of` for somebody who sat down a while ago and may be anything by now."""
    user = User.objects.filter(pk=user_id).first()
    return host_of(user=user, machine_id=machine_id) if user is not None else None
