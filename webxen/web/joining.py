"""Staff's pages of enrolment: create a token with the command to copy; accept, reject or remove a host."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from webxen.core import clock
from webxen.core.errors import InvalidError, UserError
from webxen.enrolment import joining
from webxen.enrolment import removal as machines
from webxen.inventory import queries
from webxen.web.decorators import person, staff_page
from webxen.web.forms import HostForm, add_refusal


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_page
def add_host(request: HttpRequest) -> HttpResponse:
    """Create an enrolment token; only the answer to this form shows it."""
    form = HostForm(request.POST if request.method == "POST" else None)
    context: dict[str, Any] = {"form": form}
    if request.method == "POST" and form.is_valid():
        try:
            token, secret = joining.make_token(
                staff=person(request),
                name=form.cleaned_data["name"],
                is_rejoin=form.cleaned_data["is_rejoin"],
                now=clock.now(),
            )
        except UserError as refused:
            add_refusal(form, refused)
        else:
            portal = request.build_absolute_uri("/").rstrip("/")
            # The command asks for the token: arguments are visible to every account of the host.
            context |= {"token": token, "secret": secret, "command": f"webxen-worker join {portal}"}
    status = InvalidError.status if form.errors else 200
    return render(request, "web/add_host.html", context, status=status)


@require_POST
@staff_page
def host_accept(request: HttpRequest, name: str) -> HttpResponse:
    user = person(request)
    host = joining.accept(
        staff=user,
        host_id=queries.get_visible_host_named(user=user, name=name).id,
        fingerprint=request.POST.get("fingerprint", ""),
        now=clock.now(),
    )
    messages.success(request, _("%(name)s was accepted; machines can be placed on it.") % {"name": host.name})
    return redirect("host", name=name)


@require_POST
@staff_page
def host_reject(request: HttpRequest, name: str) -> HttpResponse:
    user = person(request)
    host = queries.get_visible_host_named(user=user, name=name)
    joining.reject(staff=user, host_id=host.id, now=clock.now())
    messages.success(request, _("%(name)s was rejected and its broker account removed.") % {"name": name})
    return redirect("hosts")


@require_POST
@staff_page
def host_remove(request: HttpRequest, name: str) -> HttpResponse:
    user = person(request)
    host = queries.get_visible_host_named(user=user, name=name)
    machines.remove_host(staff=user, host_id=host.id, now=clock.now())
    messages.success(request, _("%(name)s was removed, with its broker account.") % {"name": name})
    return redirect("hosts")
