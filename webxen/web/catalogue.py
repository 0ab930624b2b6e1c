"""Pages of images and networks."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from webxen.inventory import queries
from webxen.web.decorators import page, person


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
