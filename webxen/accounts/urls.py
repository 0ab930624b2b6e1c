"""Account URLs: the subset of allauth's that the portal uses.

There is no mail server and staff creates accounts, so views that send mail (forgotten password, address
verification) or sign users up are absent. Staff sets a new password for a user who forgot it.
"""

from allauth.account import views
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("login/", views.login, name="account_login"),
    path("logout/", views.logout, name="account_logout"),
    path("inactive/", views.account_inactive, name="account_inactive"),
    path("reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
    path("password/change/", views.password_change, name="account_change_password"),
    path("password/set/", views.password_set, name="account_set_password"),
    path("2fa/", include("allauth.mfa.urls")),
]
