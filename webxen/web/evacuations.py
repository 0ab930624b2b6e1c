"""Staff's pages of evacuations, dead hosts and balancing."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from webxen.core import clock
from webxen.core.errors import InvalidError, UserError
from webxen.core.messages import as_sentence, translate
from webxen.fleet import balancing, evacuation, failover, fencing, plans
from webxen.fleet.models import Fencing
from webxen.inventory import queries
from webxen.inventory.models import Host
from webxen.machines import foreign_domains
from webxen.web.decorators import mendable, person, staff_page

#: machines of a plan that its page shows, of those that move and of those that cannot
SHOWN = 50


def standing_context(request: HttpRequest, host: Host) -> dict[str, Any]:
    """Context of the evacuation on the host's page."""
    now = clock.now()
    return {
        "standing": evacuation.standing(user=person(request), host_id=host.id),
        "can_come_back": len(evacuation.came_from(host=host)),
        "is_draining": host.state == Host.State.DRAINING,
        "is_silent": host.state != Host.State.NEW and queries.is_silent(host=host, now=now),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page
def host_drain(request: HttpRequest, name: str) -> HttpResponse:
    """Show the plan of an evacuation (GET), or start it (POST)."""
    user = person(request)
    host = queries.get_visible_host_named(user=user, name=name)
    values = request.POST if request.method == "POST" else request.GET
    chosen = {
        "one_way_is_fine": bool(values.get("one_way")),
        "may_shut_down": bool(values.get("shut_down")),
    }
    if request.method == "POST":
        evacuation.drain_host(user=user, host_id=host.id, now=clock.now(), **chosen)
        messages.success(request, _("%(name)s is being drained.") % {"name": name})
        return redirect("host", name=name)
    plan = plans.plan_drain(user=user, host_id=host.id, now=clock.now(), **chosen)
    context = {
        "host": host,
        "plan": plan,
        "movable": plan.movable[:SHOWN],
        "movable_left_out": max(len(plan.movable) - SHOWN, 0),
        "stuck": plan.stuck[:SHOWN],
        "stuck_left_out": max(len(plan.stuck) - SHOWN, 0),
        "one_way": chosen["one_way_is_fine"],
        "shut_down": chosen["may_shut_down"],
        "strangers": foreign_domains.strangers_on(host),
    }
    return render(request, "web/host_drain.html", context)


@require_POST
@staff_page
def host_activate(request: HttpRequest, name: str) -> HttpResponse:
    """Allow machines on the host again; with `back`, migrate the evacuated ones back."""
    user = person(request)
    host = queries.get_visible_host_named(user=user, name=name)
    if request.POST.get("back"):
        evacuation.bring_back(user=user, host_id=host.id, now=clock.now())
    else:
        evacuation.activate_host(user=user, host_id=host.id, now=clock.now())
    return redirect("host", name=name)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page
def host_dead(request: HttpRequest, name: str) -> HttpResponse:
    """Failover of a dead host: staff types a phrase to confirm that it is off, or its fence agent is used."""
    user = person(request)
    host = queries.get_visible_host_named(user=user, name=name)
    context: dict[str, Any] = {"host": host, **_fencing_context(request, host)}
    if request.headers.get("HX-Request") and request.method != "POST":
        return render(request, "web/parts/fencing_card.html", context)
    rescues = failover.plan(user=user, host_id=host.id, now=clock.now())
    context |= {
        # shown and accepted in the user's language; the domain and the API use the English phrase
        "words": translate(failover.words_for(host)),
        "rescues": rescues[:SHOWN],
        "rescues_left_out": max(len(rescues) - SHOWN, 0),
        "strangers": foreign_domains.strangers_on(host),
    }
    if request.method == "POST":
        try:
            untrusted_words = context["typed"] = request.POST.get("words", "").strip()
            if untrusted_words == context["words"]:
                untrusted_words = failover.words_for(host)
            jobs = failover.restart_elsewhere(
                user=user, host_id=host.id, untrusted_words=untrusted_words, now=clock.now()
            )
        except UserError as refused:
            mendable(refused)
            context["error"] = translate(refused.message)
            return render(request, "web/host_dead.html", context, status=refused.status)
        messages.success(request, _("Machines started on other hosts: %(n)s") % {"n": len(jobs)})
        return redirect("host", name=name)
    return render(request, "web/host_dead.html", context)


def _fencing_context(request: HttpRequest, host: Host) -> dict[str, Any]:
    latest = fencing.latest(user=person(request), host_id=host.id)
    return {
        "fence": fencing.fence_of(host=host),
        "fencing": latest,
        "is_fencing": latest is not None and latest.phase in Fencing.OPEN,
    }


@require_POST
@staff_page
def host_fence(request: HttpRequest, name: str) -> HttpResponse:
    """Power a silent host off with its fence agent; its page shows the progress."""
    user = person(request)
    host = queries.get_visible_host_named(user=user, name=name)
    fencing.ask(user=user, host_id=host.id, now=clock.now())
    return redirect("host_dead", name=name)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page
def balance(request: HttpRequest) -> HttpResponse:
    """Show the proposed migrations with their gain (GET), or carry out the selected ones (POST)."""
    user, chosen, error = person(request), None, ""
    if request.method == "POST":
        chosen = [found for text in request.POST.getlist("machine") if (found := _id(text)) is not None]
        try:
            evacuation.balance(user=user, machine_ids=chosen, now=clock.now())
        except UserError as refused:
            mendable(refused)
            error = as_sentence(refused.message)
        else:
            messages.success(request, _("The moves were ordered, one after the other."))
            return redirect("jobs")
    now = clock.now()
    context = {
        "error": error,
        # None: all are selected; after a refusal the selection is kept
        "chosen": chosen,
        "proposals": plans.plan_balanced(user=user, now=now),
        "proposed_at": plans.proposed_at(now=now),
        "policy": balancing.look_at_policy(user=user, now=now),
    }
    return render(request, "web/balance.html", context, status=InvalidError.status if error else 200)


def _id(untrusted: str) -> UUID | None:
    try:
        return UUID(untrusted)
    except ValueError:
        return None
