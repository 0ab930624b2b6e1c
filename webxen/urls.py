"""Every address of the portal."""

from django.urls import include, path

urlpatterns = [
    path("accounts/", include("webxen.accounts.urls")),
    path("api/v1/", include("webxen.api.urls")),
    path("", include("webxen.web.urls")),
]

handler400 = "webxen.web.wrong_turns.bad_request"
handler403 = "webxen.web.wrong_turns.forbidden"
handler404 = "webxen.web.wrong_turns.not_found"
handler429 = "webxen.web.wrong_turns.too_many_requests"  # allauth's limits
handler500 = "webxen.web.wrong_turns.server_error"
