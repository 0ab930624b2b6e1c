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
from webxen.core.request_queue import LIMITED

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

TITLES = {
    400: "What was sent cannot be used",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "This address does not do that",
    406: "That format is not spoken here",
    408: "Too slow",
    409: "Not now",
    411: "The length is missing",
    413: "Too large",
    415: "Only JSON is read here",
    422: "The key was used for something else",
    429: "Too many requests",
    431: "Too large",
    500: "A mistake of ours",
    503: "Not available for the moment",
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
    (RequestDataTooBig, TooLargeError("The body is larger than is read here.")),
    (SuspiciousOperation, MalformedError("The request is not well formed.")),
    (PermissionDenied, ForbiddenError("You may not do this.")),
    (Http404, NotFoundError()),
)


def answer(
    *,
    status: int,
    code: str,
    detail: str,
    errors: Mapping[str, list[str]] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """Return a problem as a response."""
    body = _body(status=status, code=code, detail=detail, errors=errors, members=members)
    return Response(body, status=status, content_type=MEDIA_TYPE)


def as_bytes(refusal: UserError) -> tuple[str, bytes]:
    """Return a problem as (content type, body), for refusals before Django."""
    body = _body(
        status=refusal.status,
        code=refusal.code,
        detail=str(refusal),
        errors=refusal.fields,
        members=refusal.members,
    )
    return MEDIA_TYPE, json.dumps(body).encode()


def _body(
    *,
    status: int,
    code: str,
    detail: str,
    errors: Mapping[str, list[str]] | None,
    members: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """`type` identifies the kind of problem for programs, `detail` is for people."""
    body: dict[str, Any] = {
        "type": f"urn:webxen:problem:{code.lower().replace('_', '-')}",
        "title": TITLES.get(status, "Refused"),
        "status": status,
        "detail": detail,
        "code": code,
        "reference": request_context.current_id(),
    }
    if errors:
        body["errors"] = errors
    return {**body, **(members or {})}


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


def _from_refusal(refusal: UserError) -> Response:
    response = answer(
        status=refusal.status,
        code=refusal.code,
        detail=str(refusal),
        errors=refusal.fields,
        members=refusal.members,
    )
    if refusal.retry_after_seconds is not None:
        response["Retry-After"] = str(refusal.retry_after_seconds)
    return response


def _from_framework(error: exceptions.APIException) -> Response:
    code = next((ours.code for kind, ours in FRAMEWORKS if isinstance(error, kind)), UserError.code)
    errors = None
    if isinstance(error, exceptions.ValidationError):
        detail, errors = "Some fields cannot be used.", fields_of(error)
    else:
        detail = str(error.detail)
    response = answer(status=error.status_code, code=code, detail=detail, errors=errors)
    if challenge := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        response["Retry-After"] = str(int(wait))
        # until then the request queue refuses the same client
        setattr(response, LIMITED, int(wait))
    return response


def fields_of(error: exceptions.ValidationError) -> dict[str, list[str]]:
    """Return the framework's nested errors as field → messages, the documented form."""
    detail = error.detail
    if isinstance(detail, Mapping):
        return {str(name): list(_sentences(value)) for name, value in detail.items()}
    return {"non_field_errors": list(_sentences(detail))}


def _sentences(detail: Any, where: str = "") -> Iterator[str]:
    if isinstance(detail, Mapping):
        for name, value in detail.items():
            # a list's errors come by index, counted from 0
            part = f"Item {name + 1}" if isinstance(name, int) else str(name)
            yield from _sentences(value, f"{where}{part}: ")
    elif isinstance(detail, list | tuple):
        for value in detail:
            yield from _sentences(value, where)
    else:
        yield f"{where}{detail}"


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
    detail = f"This is a mistake of ours. Staff finds it in the log under {reference}."
    response = _from_refusal(InternalError(detail))
    response.data["reference"] = reference
    return response
