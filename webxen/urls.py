"""URLs of the portal."""

from django.urls import include, path

urlpatterns = [
    path("accounts/", include("webxen.accounts.urls")),
    path("api/v1/", include("webxen.api.urls")),
    path("", include("webxen.web.urls")),
]

handler400 = "webxen.web.error_pages.bad_request"
handler403 = "webxen.web.error_pages.forbidden"
handler404 = "webxen.web.error_pages.not_found"
handler429 = "webxen.web.error_pages.too_many_requests"  # allauth's limits
handler500 = "webxen.web.error_pages.server_error"
