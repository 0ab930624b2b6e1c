"""The page a form was sent from, if it is one of ours: where people go back to."""

from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme


def where_from(request: HttpRequest, fallback: str) -> str:
    """The page of ours a form was sent from."""
    referer = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(
        referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return referer
    return resolve_url(fallback)
