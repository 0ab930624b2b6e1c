"""Errors as application/problem+json (RFC 9457); unexpected exceptions become a 500 here.

Contains the mapping from exceptions to problems.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404
from django.urls import reverse
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from webxen.api.parsers import MalformedError
from webxen.core import database, request_context
from webxen.core.errors import ForbiddenError, InvalidError, NotFoundError, UserError
from webxen.core.messages import Message
from webxen.core.messages.texts import TEXTS
from webxen.core.request_queue import LIMITED

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

TITLES = {
    400: "Invalid request",
    401: "Authentication required",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Request timeout",
    409: "Conflict",
    411: "Length required",
    413: "Too large",
    415: "Unsupported media type",
    422: "Idempotency key reused",
    429: "Too many requests",
    431: "Too large",
    500: "Internal error",
    503: "Service unavailable",
}


class NotAuthenticatedError(UserError):
    """No valid credentials."""

    code = "NOT_AUTHENTICATED"
    status = 401


class MethodNotAllowedError(UserError):
    """The URL exists but not with this method."""

    code = "METHOD_NOT_ALLOWED"
    status = 405


class NotJsonError(UserError):
    """The body has another content type."""

    code = "NOT_JSON"
    status = 415


class TooLargeError(UserError):
    """The body exceeds the size limit."""

    code = "TOO_LARGE"
    status = 413


class TooManyRequestsError(UserError):
    """A rate limit was exceeded."""

    code = "TOO_MANY_REQUESTS"
    status = 429


class InternalError(UserError):
    """A bug; the message has the reference for searching the log."""

    code = "INTERNAL_ERROR"
    status = 500


#: Django REST framework's exceptions, and the corresponding errors
FRAMEWORKS: tuple[tuple[type[exceptions.APIException], type[UserError]], ...] = (
    (exceptions.NotAuthenticated, NotAuthenticatedError),
    (exceptions.AuthenticationFailed, NotAuthenticatedError),
    (exceptions.PermissionDenied, ForbiddenError),
    (exceptions.NotFound, NotFoundError),
    (exceptions.MethodNotAllowed, MethodNotAllowedError),
    (exceptions.UnsupportedMediaType, NotJsonError),
    (exceptions.ParseError, MalformedError),
    (exceptions.ValidationError, InvalidError),
    (exceptions.Throttled, TooManyRequestsError),
)
#: Django's own exceptions; the first that matches
DJANGOS: tuple[tuple[type[Exception], UserError], ...] = (
    (RequestDataTooBig, TooLargeError(Message("BODY_TOO_LARGE_HERE"))),
    (SuspiciousOperation, MalformedError(Message("REQUEST_MALFORMED"))),
    (PermissionDenied, ForbiddenError(Message("PERMISSION_DENIED"))),
    (Http404, NotFoundError()),
)


def as_bytes(refusal: UserError) -> tuple[str, bytes]:
    """One problem as (content type, body), for a refusal that is given before Django."""
    return MEDIA_TYPE, json.dumps(_body(refusal)).encode()


def _body(refusal: UserError, *, status: int | None = None) -> dict[str, Any]:
    """`type` and `code` are the kind of problem for programs, `reason` and `params` what `detail` says."""
    status = status or refusal.status
    body: dict[str, Any] = {
        "type": f"urn:webxen:problem:{refusal.code.lower().replace('_', '-')}",
        "title": TITLES.get(status, "Refused"),
        "status": status,
        "detail": str(refusal.message),
        "code": refusal.code,
        "reason": refusal.message.code or refusal.code,
        "params": refusal.message.params,
        "reference": request_context.current_id(),
    }
    if refusal.fields:
        body["errors"] = {name: [_one(one) for one in told] for name, told in refusal.fields.items()}
    return {**body, **refusal.members}


def _one(message: Message) -> dict[str, Any]:
    return {"code": message.code, "params": message.params, "message": str(message)}


def handle(error: Exception, context: Mapping[str, Any]) -> Response:
    """Django REST framework's EXCEPTION_HANDLER."""
    if request := context.get("request"):
        # other renderers (YAML of the schema, HTML of the reference) do not apply: a problem is JSON
        request.accepted_renderer = JSONRenderer()
        request.accepted_media_type = MEDIA_TYPE
    response = _translate(error, context)
    if request and "job" in response.data:
        # domain errors have ids; URLs are added here
        address = reverse("api:job", args=[response.data["job"]])
        response.data["job_url"] = request.build_absolute_uri(address)
    return response


def _translate(error: Exception, context: Mapping[str, Any]) -> Response:
    if isinstance(error, UserError):
        return _from_refusal(error)
    if isinstance(error, exceptions.APIException):
        return _from_framework(error)
    for kind, refusal in DJANGOS:
        if isinstance(error, kind):
            return _from_refusal(refusal)
    return _from_database(error) if database.is_away(error) else _from_bug(error, context)


def _from_database(error: Exception) -> Response:
    log.warning("the database did not answer: %s", error)
    response = _from_refusal(database.DatabaseAwayError())
    response["Retry-After"] = str(database.RETRY_AFTER_SECONDS)
    return response


def _from_refusal(refusal: UserError, *, status: int | None = None) -> Response:
    body = _body(refusal, status=status)
    response = Response(body, status=body["status"], content_type=MEDIA_TYPE)
    if refusal.retry_after_seconds is not None:
        response["Retry-After"] = str(refusal.retry_after_seconds)
    return response


def _from_framework(error: exceptions.APIException) -> Response:
    refusal: UserError
    ours = next((ours for kind, ours in FRAMEWORKS if isinstance(error, kind)), UserError)
    if isinstance(error, exceptions.ValidationError):
        refusal = InvalidError(Message("FIELDS_INVALID"), fields=fields_of(error))
    else:
        # not made by its own constructor, which may take no message
        refusal = UserError.__new__(ours)
        UserError.__init__(refusal, _message_of(error.detail))
    response = _from_refusal(refusal, status=error.status_code)
    if challenge := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        response["Retry-After"] = str(int(wait))
        # until then the request queue refuses the same client
        setattr(response, LIMITED, int(wait))
    return response


def _message_of(detail: Any, where: str = "") -> Message:
    """A sentence of the framework, under its own code; ours keep theirs."""
    code = str(getattr(detail, "code", "")).upper()
    return Message(code) if code in TEXTS else Message.foreign(code, f"{where}{detail}")


def fields_of(error: exceptions.ValidationError) -> dict[str, list[Message]]:
    """The framework's nested refusals as field → messages, the shape that is documented."""
    detail = error.detail
    if isinstance(detail, Mapping):
        return {str(name): list(_messages(value)) for name, value in detail.items()}
    return {"non_field_errors": list(_messages(detail))}


def _messages(detail: Any, where: str = "") -> Iterator[Message]:
    if isinstance(detail, Mapping):
        for name, value in detail.items():
            # a list's errors come by index, counted from 0
            part = f"Item {name + 1}" if isinstance(name, int) else str(name)
            yield from _messages(value, f"{where}{part}: ")
    elif isinstance(detail, list | tuple):
        for value in detail:
            yield from _messages(value, where)
    else:
        yield _message_of(detail, where)


def _from_bug(error: Exception, context: Mapping[str, Any]) -> Response:
    reference = request_context.current_id()
    request = context.get("request")
    log.error(
        "unforeseen error %s in %s %s",
        reference,
        getattr(request, "method", "?"),
        getattr(request, "path", "?"),
        exc_info=error,
    )
    response = _from_refusal(InternalError(Message("INTERNAL_ERROR", reference=reference)))
    response.data["reference"] = reference
    return response
