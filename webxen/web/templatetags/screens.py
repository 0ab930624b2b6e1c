"""Template tags and filters: icons, badges, sizes, times. They format values and query nothing."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.forms import BoundField
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from webxen.core.messages import Message, translate
from webxen.core.messages.texts import TEXTS
from webxen.core.windows import Window
from webxen.inventory.models import Host
from webxen.inventory.placement import Verdict, describe
from webxen.inventory.queries import fingerprint_of
from webxen.jobs.models import Job
from webxen.web import codes, sizes, words
from webxen.web.words import Look
from worker import contract

register = template.Library()
MINUTE = 60
#: length of JobEvent.event
STORED_EVENT_CHARACTERS = 16


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """An icon of the sprite, hidden from screen readers because text accompanies it."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true"><use href="{}#{}"/></svg>',
        css,
        static("webxen/icons.svg"),
        name,
    )


def _badge(look: Look, title: str = "") -> SafeString:
    return format_html(
        '<span class="badge wx-badge d-inline-flex gap-1 text-nowrap bg-{}-lt"{}>{} {}</span>',
        look.colour,
        format_html(' title="{}"', title) if title else "",
        icon(look.icon),
        look.word,
    )


@register.filter
def machine_badge(machine: Any) -> SafeString:
    """Badge of the state; for READY machines, of the observed power."""
    if machine.state == "READY":
        return _badge(words.POWERS.get(machine.power, words.UNKNOWN))
    return _badge(words.MACHINE_STATES.get(machine.state, words.UNKNOWN), translate(machine.state_reason))


@register.filter
def power_badge(power: str) -> SafeString:
    return _badge(words.POWERS.get(power, words.UNKNOWN))


@register.filter
def power_seen(machine: Any) -> SafeString | str:
    """When the power was observed; if it is UNKNOWN, what was observed then."""
    if machine.power_seen_at is None:
        return _("not reported yet")
    word = words.LAST_POWERS.get(machine.last_power) if machine.power == "UNKNOWN" else _("seen")
    return format_html("{} {}", word or _("last seen"), ago(machine.power_seen_at))


@register.filter
def job_badge(status: str) -> SafeString:
    return _badge(words.JOB_STATUSES.get(status, words.UNKNOWN))


@register.filter
def request_badge(status: str) -> SafeString:
    return _badge(words.REQUEST_STATUSES.get(status, words.UNKNOWN))


@register.filter
def outcome(wish: Any) -> str:
    """What became of an approved request; "" if its machine exists and was created without problems."""
    if wish.status != "APPROVED" or wish.machine is None or wish.job is None:
        return ""
    if wish.job.status == "PENDING":
        return translate(wish.job.waiting_for) or _("It waits for a host with free capacity.")
    if wish.job.status in ("QUEUED", "RUNNING"):
        return _("The machine is being created.")
    if wish.job.status == "CANCELLED":
        return _("Creating the machine was cancelled.")
    if wish.job.status in Job.ENDED_BADLY and wish.machine.state in ("FAILED", "DELETED"):
        return _("Creating the machine failed.")
    return _("The machine has been deleted since.") if wish.machine.state == "DELETED" else ""


@register.filter
def host_badge(state: str) -> SafeString:
    return _badge(words.HOST_STATES.get(state, words.UNKNOWN))


@register.filter
def fencing_badge(phase: str) -> SafeString:
    return _badge(words.FENCING_PHASES.get(phase, words.UNKNOWN))


@register.filter
def days_of(window: Window) -> str:
    """The window's days as text, e.g. "Sat and Sun" or "every day"."""
    days = [str(words.DAYS[day]) for day in sorted(window.days)]
    if len(days) == len(words.DAYS):
        return _("every day")
    return " {} ".format(pgettext("list", "and")).join(filter(None, (", ".join(days[:-1]), days[-1])))


@register.filter
def who(one: Any) -> str:
    """The user of a job or audit entry, or the policy, or the portal itself."""
    person = getattr(one, "actor", None) or getattr(one, "requested_by", None)
    return str(person.username if person else words.POLICIES.get(one.policy, "WebXen"))


@register.filter
def severity_badge(severity: str) -> SafeString:
    return _badge(words.SEVERITIES.get(severity, words.UNKNOWN))


@register.filter
def fingerprint(host: Host) -> str:
    return fingerprint_of(host=host) or "—"


@register.filter
def job_kind(kind: str) -> str:
    return str(words.JOB_KINDS.get(kind, kind))


@register.filter
def verdict_text(verdict: Verdict | Mapping[str, Any]) -> str:
    """Placement's result for a host, current or stored, in the user's language."""
    if isinstance(verdict, Verdict):
        return translate(verdict.message)
    return translate(describe(str(verdict.get("code", "")), verdict.get("numbers", {})))


register.filter("sentence", translate)


@register.filter
def why_failed(job: Any) -> SafeString | str:
    """Why, in the reader's language; below it a program's last words, or a host's own English."""
    message: Message = job.error_message
    said, _, below = translate(message).partition("\n")
    if message.code and message.code not in TEXTS:
        # a newer worker's: what its kind means, if that is known, and its own sentence
        said, below = translate(Message(job.error_code)), str(message)
    if not below:
        return said or str(job.error_code)
    return format_html('{}<span class="d-block small fw-normal" lang="en">{}</span>', said, below)


@register.filter
def console_lines(text: str) -> str:
    """The last lines of a console; also cleans those stored by earlier versions."""
    return contract.readable_console(text)


@register.filter
def event_word(event: str) -> str:
    """The text of an event; long codes are stored truncated."""
    by_beginning = {code[:STORED_EVENT_CHARACTERS]: word for code, word in codes.EVENTS.items()}
    return str(by_beginning.get(event[:STORED_EVENT_CHARACTERS], event))


@register.filter
def action_word(action: str) -> str:
    """The text of an audit action: its own, or a job's name with its result."""
    if action in codes.AUDIT:
        return str(codes.AUDIT[action])
    first, _under, last = action.partition("_")
    if first == "CANCEL" and last in words.JOB_KINDS:
        return _("Cancellation requested: %(job)s") % {"job": job_kind(last)}
    if first == "MEND":
        return _("Fixed: %(code)s") % {"code": last}
    if first not in words.JOB_KINDS:
        return action
    if last == "MACHINE":
        return job_kind(first)
    return f"{job_kind(first)} — {codes.EVENTS[last]}" if last in codes.EVENTS else action


@register.filter
def step_word(step: str) -> str:
    return str(words.STEPS.get(step, step.capitalize()))


@register.filter
def step_now(job: Any) -> str:
    """The present step as text; at the hand-over of a cold migration nothing runs yet."""
    is_cold = job.kind == "MIGRATE" and job.move.method == "COLD"
    return step_word("GO" if is_cold and job.step == "REPORTED" else job.step)


@register.filter
def move_badge(phase: str) -> SafeString:
    return _badge(words.MOVE_PHASES.get(phase, words.UNKNOWN))


@register.filter
def step_badge(progress: str) -> SafeString:
    return _badge(words.STEP_PROGRESS.get(progress, words.UNKNOWN))


@register.filter
def move_method(method: str) -> str:
    return str(words.MOVE_METHODS.get(method, method))


@register.filter
def go_word(go: str) -> str:
    return str(words.GO_WORDS.get(go, go))


@register.filter
def copy_word(copy: str) -> str:
    return str(words.COPY_WORDS.get(copy, copy))


@register.filter
def mib(value: int | None) -> str:
    """2048 → 2 GiB; 8448 → 8.25 GiB; 256 → 256 MiB."""
    return "—" if value is None else sizes.memory(value)


@register.filter
def gib(value: int) -> str:
    return sizes.gib(value)


@register.filter
def vcpus(value: int) -> str:
    return ngettext("%(n)s vCPU", "%(n)s vCPUs", value) % {"n": value}


@register.filter
def lasting(seconds: float | None) -> str:
    """4.25 → 4.2 s; 75 → 1 min 15 s; 7380 → 2 h 3 min."""
    if seconds is None:
        return ""
    if seconds < 10:
        return _("%(n)s s") % {"n": formats.number_format(seconds, decimal_pos=1)}
    if seconds < MINUTE:
        return _("%(n)s s") % {"n": round(seconds)}
    minutes, rest = divmod(round(seconds), MINUTE)
    if minutes >= MINUTE:
        hours, minutes = divmod(minutes, MINUTE)
        return _("%(h)s h %(m)s min") % {"h": hours, "m": minutes}
    return _("%(m)s min %(s)s s") % {"m": minutes, "s": rest}


@register.filter
def ago(moment: datetime | None) -> SafeString | str:
    """Relative time, with the exact time as a tooltip."""
    if moment is None:
        return "—"
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        f"{local:%Y-%m-%d %H:%M:%S %Z}",
        naturaltime(moment),
    )


@register.filter
def clock_time(moment: datetime) -> SafeString:
    """Time of day with its zone, with the date as a tooltip."""
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        f"{local:%Y-%m-%d %H:%M:%S %Z}",
        f"{local:%H:%M:%S %Z}",
    )


@register.filter
def took(job: Any) -> float | None:
    """Seconds from the job's start to its end."""
    if job.finished_at is None:
        return None
    return float((job.finished_at - (job.started_at or job.created_at)).total_seconds())


@register.filter
def address(machine: Any) -> str:
    """The IPv4 address of the first interface that has one, or ""."""
    return next((card.ipv4 for card in machine.interfaces.all() if card.ipv4), "")


@register.filter
def image_icon(image: Any) -> str:
    """The icon of the image's distribution, or a generic one."""
    return "brand-debian" if "debian" in image.slug else "cube"


@register.filter
def percent(part: int, whole: int) -> int:
    """0-100, for the widths of SVG bars: the CSP forbids inline styles."""
    return min(100, round(100 * part / whole)) if whole else 0


@register.filter
def as_control(field: BoundField) -> SafeString:
    """A field of a third-party form with the portal's CSS classes."""
    is_box = getattr(field.field.widget, "input_type", "") == "checkbox"
    css = "form-check-input" if is_box else "form-control"
    return field.as_widget(attrs={"class": f"{css} is-invalid" if field.errors else css})


@register.filter
def lookup(mapping: dict[str, Any], key: str) -> Any:
    return mapping.get(key)


@register.simple_tag(takes_context=True)
def here(context: dict[str, Any], prefix: str) -> SafeString:
    """aria-current for the side bar's entry of the present page."""
    request: HttpRequest | None = context.get("request")
    path = request.path if request else ""
    is_here = path == prefix if prefix == "/" else path.startswith(prefix)
    return SafeString(' aria-current="page"' if is_here else "")


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: object) -> str:
    """The page's query string with some values changed."""
    values = context["request"].GET.copy()
    for key, value in changes.items():
        if value in (None, ""):
            values.pop(key, None)
        else:
            values[key] = str(value)
    return f"?{values.urlencode()}"
