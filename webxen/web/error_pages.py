"""Error pages: 400, 403, 404, 429, 500, 503, each with an explanation and a reference."""

import logging
import sys

from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.utils import translation
from django.utils.translation import gettext
from django.views.decorators.csrf import requires_csrf_token

from webxen.accounts import sign_ins
from webxen.core import clock, database, request_context
from webxen.core.errors import UserError
from webxen.core.messages import translate
from webxen.web.referer import where_from

log = logging.getLogger(__name__)


def refusal(request: HttpRequest, *, status: int, sentence: str = "") -> HttpResponse:
    """Return a page for an expected refusal; `sentence` is shown to the user."""
    name = {400: "400.html", 403: "403.html", 404: "404.html"}.get(status, "refused.html")
    words = {"sentence": sentence, "status": status, "reference": request_context.current_id()}
    text = loader.render_to_string(name, words, request)
    return HttpResponse(text, status=status)


def as_bytes(refused: UserError) -> tuple[str, bytes]:
    """Return a page in both languages as (content type, body), for refusals before Django."""
    words = {"status": refused.status, "english": str(refused)}
    with translation.override("ru"):
        words["russian"] = translate(refused.message)
    return "text/html; charset=utf-8", loader.render_to_string("edge.html", words).encode()


@requires_csrf_token
def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return refusal(request, status=400)


@requires_csrf_token
def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return refusal(request, status=403)


@requires_csrf_token
def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return refusal(request, status=404)


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """Rate limits of allauth for sign-in and for changes of credentials, per minute."""
    if request.method == "POST":
        name = request.user.get_username() or request.POST.get("login", "")
        sign_ins.note_refusal(username=name, now=clock.now())
    sentence = gettext("Too many tries. Wait a minute, then try again.")
    response = refusal(request, status=429, sentence=sentence)
    response["Retry-After"] = "60"
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The form is too old or was sent from another site."""
    log.warning("CSRF check failed: %s", reason)
    words = {"back": where_from(request, "/"), "reference": request_context.current_id()}
    text = loader.render_to_string("csrf.html", words, request)
    return HttpResponse(text, status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """Page for a bug. Uses nothing that may be broken: no database, no context processors."""
    error = sys.exc_info()[1]
    if database.is_away(error):
        return _database_away(error)
    reference = request_context.current_id()
    log.error("500 on %s, reference %s", request.path, reference, exc_info=sys.exc_info())
    return HttpResponse(loader.render_to_string("500.html", {"reference": reference}), status=500)


def _database_away(error: BaseException | None) -> HttpResponse:
    """A temporary failure: the page can be loaded again shortly."""
    log.warning("the database did not answer: %s", error)
    wait = database.RETRY_AFTER_SECONDS
    text = loader.render_to_string("503.html", {"wait": wait})
    return HttpResponse(text, status=503, headers={"Retry-After": str(wait)})
