"""What would become of a wish if it were sent now: for the size cards, the summary and the button."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from webxen.accounts.models import Project
from webxen.approvals import queries as approvals
from webxen.approvals.policy import Verdict
from webxen.inventory.models import Image, Network, Size
from webxen.inventory.placement import Choice, HostFigures, Need
from webxen.jobs import placing
from webxen.quotas.shortage import Figures
from webxen.web.said import said


@dataclass(frozen=True)
class Outlook:
    """`code`: READY, APPROVAL, NO_ROOM or REFUSED."""

    code: str
    sentence: str | Promise
    #: the host it would go to, "" if none; shown to staff alone
    host: str = ""
    #: where there is more than one: the summary lists them, a size card has no room for them
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
    hosts: list[HostFigures],
    wanted: str = "",
) -> Choice:
    """Where it would go, or why nowhere."""
    need = Need(
        memory_mib=figures.memory_mib,
        disk_mib=figures.disk_gib * 1024,
        image_file=image.file if image else "",
        image_sha256=image.sha256 if image else "",
        bridge=network.bridge if network else "",
        vcpus=figures.vcpus,
    )
    return placing.choose(hosts, need, wanted=wanted or None)


def outlook(
    *,
    project: Project,
    image: Image | None,
    network: Network | None,
    figures: Figures,
    is_listed_size: bool,
    hosts: list[HostFigures],
) -> Outlook:
    """Judge one wish."""
    if image and figures.memory_mib < image.min_memory_mib:
        return Outlook("REFUSED", _("too little memory for this image"))
    if image and figures.disk_gib * 1024 < image.min_disk_mib:
        return Outlook("REFUSED", _("too small a disk for this image"))
    decision = approvals.preview(
        project=project,
        vcpus=figures.vcpus,
        memory_mib=figures.memory_mib,
        disk_gib=figures.disk_gib,
        is_listed_size=is_listed_size,
    )
    if decision.verdict == Verdict.REFUSE:
        return Outlook("REFUSED", said(decision.why))
    host = place(image=image, network=network, figures=figures, hosts=hosts).host or ""
    if decision.verdict == Verdict.MANUAL:
        return _needs_approval(decision.why.removesuffix("."), host)
    if not host:
        return Outlook("NO_ROOM", _("no host has room just now; it waits for one"))
    return Outlook("READY", _("ready now"), host)


def _needs_approval(why: str, host: str) -> Outlook:
    reasons = tuple(said(reason) for reason in why.split("; "))
    if len(reasons) > 1:
        return Outlook("APPROVAL", _("needs approval: over quota"), host, reasons)
    return Outlook("APPROVAL", _("needs approval: %(why)s") % {"why": reasons[0]}, host)


def of_sizes(
    *, project: Project, image: Image | None, network: Network | None, sizes: Iterable[Size], now: datetime
) -> list[tuple[Size, Outlook]]:
    """Each size card with what it says."""
    hosts = placing.figures(now=now)
    return [
        (
            size,
            outlook(
                project=project,
                image=image,
                network=network,
                figures=Figures(1, size.vcpus, size.memory_mib, size.disk_gib),
                is_listed_size=True,
                hosts=hosts,
            ),
        )
        for size in sizes
    ]
