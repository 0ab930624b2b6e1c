"""Context of the page layout: counts in the side bar and the banner; computed only when used."""

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

#: maximum number of hosts named in a banner
NAMED = 5


class Shell:
    """Lazily computed values: a page that does not show a count does not query it."""

    def __init__(self, user: User) -> None:
        self._user = user

    @cached_property
    def waiting(self) -> int:
        """Number of pending requests for machines and quota."""
        machines, quotas = approvals.waiting(user=self._user), approvals.waiting_for_quota(user=self._user)
        return machines.count() + quotas.count()

    @cached_property
    def running(self) -> int:
        """Number of jobs that were sent or are in progress, without those waiting for capacity."""
        return jobs.visible_to(user=self._user).filter(status__in=("QUEUED", "RUNNING")).count()

    @cached_property
    def is_restored(self) -> bool:
        """Whether the database is older than the hosts and staff has not confirmed yet; shown to
        everybody.
        """
        return restores.is_held()

    @cached_property
    def silent_hosts(self) -> list[str]:
        """Names of silent hosts; for staff only."""
        if not self._user.is_staff:
            return []
        return inventory.silent_names(user=self._user, now=clock.now())

    @cached_property
    def unseen(self) -> int:
        """Number of the user's machines on silent hosts; staff sees the hosts instead."""
        return 0 if self._user.is_staff else machines.count_unseen(user=self._user, now=clock.now())

    @cached_property
    def is_broker_away(self) -> bool:
        return cache.is_broker_away()

    @property
    def silent_names(self) -> str:
        """The first NAMED silent hosts, as text."""
        names = self.silent_hosts
        return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")

    @cached_property
    def has_no_key(self) -> bool:
        """Whether orders cannot be signed; for staff only."""
        return self._user.is_staff and not portal_key.is_usable()


@require_safe
@page
def badges(request: HttpRequest) -> HttpResponse:
    """The counts of the side bar, which pages fetch again when something has changed."""
    return render(request, "web/parts/badges.html")


def shell(request: HttpRequest) -> dict[str, object]:
    """Context processor; empty for users who are not signed in."""
    user = getattr(request, "user", None)
    return {"shell": Shell(user)} if isinstance(user, User) and user.is_authenticated else {}
