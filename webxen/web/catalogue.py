"""Pages of what machines are made from: images and networks; and the audit."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from webxen.core import queries as core
from webxen.inventory import queries
from webxen.web.doors import page, person, staff_page

PER_PAGE = 100


@require_safe
@page
def images(request: HttpRequest) -> HttpResponse:
    found = queries.images_visible_to(user=person(request))
    return render(request, "web/images.html", {"images": found})


@require_safe
@page
def networks(request: HttpRequest) -> HttpResponse:
    found = queries.networks_visible_to(user=person(request))
    return render(request, "web/networks.html", {"networks": found})


@require_safe
@staff_page
def audit(request: HttpRequest) -> HttpResponse:
    found = core.audit_visible_to(user=person(request))
    page_obj = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "web/audit.html", {"entries": page_obj.object_list, "page_obj": page_obj})
