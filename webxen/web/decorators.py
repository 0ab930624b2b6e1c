"""Decorators of page views: require sign-in, and show refusals."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from webxen.accounts.models import User
from webxen.core.errors import ForbiddenError, NotFoundError, UserError
from webxen.core.messages import as_sentence, translate
from webxen.web import error_pages, gone
from webxen.web.referer import where_from

View = Callable[..., HttpResponse]
#: errors with a page that explains who uses the quota and whom to ask
EXPLAINED = frozenset({"QUOTA_EXCEEDED", "NO_QUOTA"})


def person(request: HttpRequest) -> User:
    """The signed-in user. Only for views with `page`."""
    return cast("User", request.user)


def page(view: View) -> View:
    """Decorator: require sign-in; show a UserError as a message on the previous page, or as a page of its
    own.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return _sign_in(request)
        try:
            return view(request, *args, **kwargs)
        except UserError as refused:
            return _refuse(request, refused)

    return guarded


def staff_page(view: View) -> View:
    """Decorator: for staff; others get 404."""

    @page
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not person(request).is_staff:
            raise NotFoundError
        return view(request, *args, **kwargs)

    return guarded


def _sign_in(request: HttpRequest) -> HttpResponse:
    if cast("Any", request).htmx:
        # htmx request after the session ended: redirect the whole page to sign-in
        back = urlencode({"next": cast("Any", request).htmx.current_url_abs_path or "/"})
        return HttpResponseClientRedirect(f"{reverse('account_login')}?{back}")
    return redirect_to_login(request.get_full_path())


def _refuse(request: HttpRequest, refused: UserError) -> HttpResponse:
    is_read = request.method != "POST"
    if is_read and cast("Any", request).htmx and isinstance(refused, NotFoundError | ForbiddenError):
        return gone.part(request, refused)
    if isinstance(refused, NotFoundError | ForbiddenError) or is_read:
        return error_pages.refusal(request, status=refused.status, sentence=as_sentence(refused.message))
    messages.error(
        request, as_sentence(refused.message), extra_tags=refused.code if refused.code in EXPLAINED else ""
    )
    for sentences in refused.fields.values():
        for sentence in sentences:
            if sentence not in str(refused):
                messages.error(request, translate(sentence))
    return HttpResponseRedirect(where_from(request, "home"))


def mendable(refused: UserError) -> None:
    """Re-raise errors that the form cannot fix: NotFoundError and ForbiddenError have their own pages."""
    if isinstance(refused, NotFoundError | ForbiddenError):
        raise refused
