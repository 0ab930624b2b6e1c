"""Every address of the portal."""

from django.urls import include, path

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("api/v1/", include("webxen.api.urls")),
    path("", include("webxen.web.urls")),
]
