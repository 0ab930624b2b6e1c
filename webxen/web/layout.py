"""What stands round every page: the side bar's counts and the banner. Asked for only when shown."""

from functools import cached_property

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from webxen.accounts.models import User
from webxen.approvals import queries as approvals
from webxen.core import cache, clock, portal_key
from webxen.inventory import queries as inventory
from webxen.inventory import restores
from webxen.jobs import queries as jobs
from webxen.machines import queries as machines
from webxen.web.decorators import page

#: hosts that a banner names
NAMED = 5


class Shell:
    """Lazy: a page that shows no count asks for none."""

    def __init__(self, user: User) -> None:
        self._user = user

    @cached_property
    def waiting(self) -> int:
        """Requests that wait for staff."""
        machines, quotas = approvals.waiting(user=self._user), approvals.waiting_for_quota(user=self._user)
        return machines.count() + quotas.count()

    @cached_property
    def running(self) -> int:
        """Jobs that a host works at or was sent; one that waits for capacity is not one of them."""
        return jobs.visible_to(user=self._user).filter(status__in=("QUEUED", "RUNNING")).count()

    @cached_property
    def is_restored(self) -> bool:
        """The database is older than the hosts, and staff has not looked: everybody is told."""
        return restores.is_held()

    @cached_property
    def silent_hosts(self) -> list[str]:
        """Hosts that said nothing for a while; staff alone is told."""
        if not self._user.is_staff:
            return []
        return inventory.silent_names(user=self._user, now=clock.now())

    @cached_property
    def unseen(self) -> int:
        """How many of a person's machines are on a host that is not responding; staff is told which hosts."""
        return 0 if self._user.is_staff else machines.count_unseen(user=self._user, now=clock.now())

    @cached_property
    def is_broker_away(self) -> bool:
        return cache.is_broker_away()

    @property
    def silent_names(self) -> str:
        """A few of them by name."""
        names = self.silent_hosts
        return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")

    @cached_property
    def has_no_key(self) -> bool:
        """Orders cannot be signed, so none is sent; staff alone is told."""
        return self._user.is_staff and not portal_key.is_usable()


@require_safe
@page
def badges(request: HttpRequest) -> HttpResponse:
    """The counts of the side bar again: each page asks for them when something has changed."""
    return render(request, "web/parts/badges.html")


def shell(request: HttpRequest) -> dict[str, object]:
    """Context processor; nothing for people who are not signed in."""
    user = getattr(request, "user", None)
    return {"shell": Shell(user)} if isinstance(user, User) and user.is_authenticated else {}
