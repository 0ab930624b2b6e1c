"""The audit page: the user's own entries, all for staff; with filters by user, action, date and
identifier.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from webxen.accounts import queries as accounts
from webxen.accounts.models import User
from webxen.core import queries
from webxen.core.models import AuditEntry
from webxen.web import codes, words
from webxen.web.decorators import page, person
from webxen.web.templatetags.screens import action_word

PER_PAGE = 100
#: query parameters of the page
FILTERS = ("who", "what", "from", "to", "mark")
#: suffixes of jobs' actions in the audit
JOB_ENDS = ("MACHINE", "SUCCEEDED", "FAILED", "CANCELLED")


@require_safe
@page
def audit(request: HttpRequest) -> HttpResponse:
    user = person(request)
    asked = {name: request.GET.get(name, "").strip() for name in FILTERS}
    mistakes: list[str] = []
    wanted = _wanted(asked, user, mistakes)
    older_than = request.GET.get("older_than", "")
    if older_than.isascii() and older_than.isdigit() and len(older_than) < 19:
        wanted["older_than"] = int(older_than)
    found = queries.audit_visible_to(user=user, **wanted)
    if asked["mark"]:
        found = queries.marked(found, mark=asked["mark"])
    # one entry more than shown tells whether there is another page, without counting
    entries = [] if mistakes else list(found[: PER_PAGE + 1])
    shown = entries[:PER_PAGE]
    context = {
        "entries": shown,
        "tokens": _token_names(user, shown),
        "older_than": shown[-1].id if len(entries) > PER_PAGE else None,
        "is_first": "older_than" not in wanted,
        "filters": asked,
        "is_filtered": any(asked.values()),
        "mistakes": mistakes,
        "actions": _actions(asked["what"]),
    }
    return render(request, "web/audit.html", context)


def _wanted(asked: dict[str, str], user: User, mistakes: list[str]) -> dict[str, Any]:
    """Return arguments of `audit_visible_to`; add messages about invalid values to `mistakes`."""
    wanted: dict[str, Any] = {}
    if asked["who"] and user.is_staff:
        wanted["actor"] = asked["who"]
    if asked["what"]:
        wanted["action"] = asked["what"]
    for name, key, days in (("from", "since", 0), ("to", "before", 1)):
        if not asked[name]:
            continue
        midnight = _midnight(asked[name], days)
        if midnight is None:
            sentence = _("“%(date)s” is no date. Give it as 2026-11-30.")
            mistakes.append(sentence % {"date": asked[name]})
        else:
            wanted[key] = midnight
    return wanted


def _midnight(untrusted: str, days: int) -> datetime | None:
    """Return the start of the day `days` after this date, in UTC; None if it is not valid."""
    try:
        date = parse_date(untrusted)
        if date is None:
            return None
        return datetime(date.year, date.month, date.day, tzinfo=UTC) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None


def _token_names(user: User, entries: Iterable[AuditEntry]) -> dict[Any, str]:
    """Names of the tokens of these entries; deleted tokens are missing."""
    ids = {entry.token_id for entry in entries if entry.token_id}
    return dict(accounts.tokens_visible_to(user=user).filter(id__in=ids).values_list("id", "name"))


def _actions(chosen: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the choices by group as (code, text), including the chosen code even if it is unknown."""
    jobs = [f"{kind}_{end}" for kind in words.JOB_KINDS for end in JOB_ENDS]
    jobs += [f"CANCEL_{kind}" for kind in words.JOB_KINDS]
    others = list(codes.AUDIT)
    if chosen and chosen not in jobs and chosen not in others:
        others.append(chosen)
    return [
        (group, sorted(((code, action_word(code)) for code in listed), key=lambda choice: choice[1].lower()))
        for group, listed in ((_("Jobs"), jobs), (_("Other actions"), others))
    ]
