"""Forecast of a request if it were sent now: for the size cards, the summary and the button."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from webxen.accounts.models import Project
from webxen.approvals import queries as approvals
from webxen.approvals.policy import Decision, Verdict
from webxen.approvals.requested_spec import DISK_GIB, MEMORY_MIB, VCPUS
from webxen.core.messages import each_of, translate
from webxen.inventory.models import Image, Network, Size
from webxen.inventory.placement import Choice, Need
from webxen.jobs import placing
from webxen.quotas.shortage import Figures
from webxen.web.templatetags.screens import mib

#: lowest and highest value that can be requested: vCPUs, memory in MiB, disk in GiB
BOUNDS = (VCPUS, MEMORY_MIB, DISK_GIB)


@dataclass(frozen=True)
class Outlook:
    """The forecast; `code`: READY, APPROVAL, NO_ROOM or REFUSED."""

    code: str
    sentence: str | Promise
    #: the host it would be placed on, "" if none; for staff only
    host: str = ""
    #: several reasons are listed in the summary; size cards have no space for them
    reasons: tuple[str, ...] = ()

    @property
    def colour(self) -> str:
        return {"READY": "green", "APPROVAL": "orange", "NO_ROOM": "orange"}.get(self.code, "red")

    @property
    def icon(self) -> str:
        signs = {"READY": "circle-check", "APPROVAL": "hand-stop", "NO_ROOM": "hourglass"}
        return signs.get(self.code, "circle-x")


def place(
    *,
    image: Image | None,
    network: Network | None,
    figures: Figures,
    forecast: placing.Forecast,
    wanted: str = "",
) -> Choice:
    """Return the host it would be placed on, or the reasons of all hosts."""
    need = Need(
        memory_mib=figures.memory_mib,
        disk_mib=figures.disk_gib * 1024,
        image_file=image.file if image else "",
        image_sha256=image.sha256 if image else "",
        bridge=network.bridge if network else "",
        vcpus=figures.vcpus,
    )
    return forecast.choose(need, wanted=wanted or None)


def outlook(
    *,
    project: Project,
    image: Image | None,
    network: Network | None,
    figures: Figures,
    is_listed_size: bool,
    forecast: placing.Forecast,
) -> Outlook:
    """Return the forecast of one request."""
    if why := _why_not(image, figures):
        return refused(why)
    decision = approvals.preview(
        project=project,
        vcpus=figures.vcpus,
        memory_mib=figures.memory_mib,
        disk_gib=figures.disk_gib,
        is_listed_size=is_listed_size,
    )
    if decision.verdict == Verdict.REFUSE:
        return refused(translate(decision.why))
    host = place(image=image, network=network, figures=figures, forecast=forecast).host or ""
    if decision.verdict == Verdict.MANUAL:
        return _needs_approval(decision, host)
    if not host:
        return Outlook("NO_ROOM", _("no host has room right now; your machine will wait in the queue"))
    return Outlook("READY", _("available now"), host)


def refused(why: str) -> Outlook:
    """The forecast of a request that cannot be sent."""
    return Outlook("REFUSED", why)


def _why_not(image: Image | None, figures: Figures) -> str:
    """Return why nobody can request this, or ""."""
    amounts = (figures.vcpus, figures.memory_mib, figures.disk_gib)
    for (lowest, highest), amount, word in zip(BOUNDS, amounts, _words(), strict=True):
        if not lowest <= amount <= highest:
            return _("%(what)s: from %(n)s to %(m)s") % {"what": word, "n": lowest, "m": highest}
    if image and figures.memory_mib < image.min_memory_mib:
        numbers = {"size": mib(image.min_memory_mib)}
        return _("too little memory for this image: at least %(size)s") % numbers
    if image and figures.disk_gib * 1024 < image.min_disk_mib:
        return _("too small a disk for this image: at least %(size)s") % {"size": mib(image.min_disk_mib)}
    return ""


def _words() -> tuple[str, str, str]:
    return _("vCPUs"), _("Memory, MiB"), _("Disk, GiB")


def _needs_approval(decision: Decision, host: str) -> Outlook:
    """The forecast of a request that needs approval, with each exceeded resource or the one reason."""
    if not decision.is_over_quota:
        return Outlook("APPROVAL", translate(decision.why), host)
    reasons = tuple(translate(reason) for reason in each_of(decision.why))
    if len(reasons) > 1:
        return Outlook("APPROVAL", _("needs approval: over quota"), host, reasons)
    return Outlook("APPROVAL", _("needs approval: %(why)s") % {"why": reasons[0]}, host)


def of_sizes(
    *,
    project: Project,
    image: Image | None,
    network: Network | None,
    sizes: Iterable[Size],
    forecast: placing.Forecast,
) -> list[tuple[Size, Outlook]]:
    """Return each size with its forecast."""
    return [
        (
            size,
            outlook(
                project=project,
                image=image,
                network=network,
                figures=Figures(1, size.vcpus, size.memory_mib, size.disk_gib),
                is_listed_size=True,
                forecast=forecast,
            ),
        )
        for size in sizes
    ]
