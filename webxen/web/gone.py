"""Replacement of a live page whose object is gone or no longer visible, with links to continue."""

from dataclasses import dataclass
from typing import cast

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webxen.accounts.models import User
from webxen.core.errors import UserError
from webxen.core.messages import translate
from webxen.jobs import queries as jobs
from webxen.jobs.models import Job
from webxen.machines.queries import MachineDeletedError

#: where to continue, by the beginning of the page's URL
LISTS: tuple[tuple[str, str, str | Promise], ...] = (
    ("/machines/", "machines", gettext_lazy("View machines")),
    ("/jobs/", "jobs", gettext_lazy("View jobs")),
    ("/requests/", "requests", gettext_lazy("View requests")),
    ("/hosts/", "hosts", gettext_lazy("Back to hosts")),
)


@dataclass(frozen=True)
class Way:
    """A link to continue."""

    url: str
    word: str | Promise


def part(request: HttpRequest, refused: UserError) -> HttpResponse:
    """Return the replacement of a live part. It replaces the whole page, which would otherwise look current.

    A console stays below the notice, so that its last output remains visible.
    """
    sentence, ways = _describe(cast("User", request.user), request.path, refused)
    is_console = request.GET.get("tab") == "console"
    context = {"sentence": sentence, "ways": ways, "is_console": is_console}
    answer = render(request, "web/parts/gone.html", context)
    answer["HX-Retarget"] = "#machine-head" if is_console else "#content"
    # the whole head is replaced, because it contains the polling
    answer["HX-Reswap"] = "outerHTML" if is_console else "innerHTML"
    return answer


def _describe(user: User, path: str, refused: UserError) -> tuple[str, list[Way]]:
    name, word = next(
        ((name, word) for start, name, word in LISTS if path.startswith(start)),
        ("home", gettext_lazy("Go home")),
    )
    onward = Way(reverse(name), word)
    if not isinstance(refused, MachineDeletedError):
        return _("This is no longer here: it was deleted, or you no longer have access."), [onward]
    last = jobs.visible_to(user=user).filter(machine=refused.machine_id).first()
    if last is None or last.kind != Job.Kind.CREATE:
        return translate(refused.message), [onward]
    to_job = Way(reverse("job", args=[last.id]), _("View job"))
    if last.status == Job.Status.CANCELLED:
        sentence = _("Creating %(name)s was cancelled.") % {"name": last.machine.name}
        again = Way(f"{reverse('new_machine')}?again={refused.machine_id}", _("Create again"))
        return sentence, [onward, to_job, again]
    return translate(refused.message), [onward, to_job]
