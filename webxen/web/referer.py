"""The previous page, if it is one of the portal's, to return to after a form."""

from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme


def where_from(request: HttpRequest, fallback: str) -> str:
    """Return the URL of the previous page if it is the portal's own, otherwise `fallback`."""
    referer = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(
        referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return referer
    return resolve_url(fallback)
