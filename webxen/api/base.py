"""Base classes of API views: permissions, strict bodies and queries, pages, Idempotency-Key.

A view parses the input, makes one domain call and renders the result; it decides nothing.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.urls import reverse
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from webxen.accounts.models import ApiToken, User
from webxen.api.deprecation import Deprecation
from webxen.api.idempotency import HEADER, answer_once
from webxen.api.pages import Pages
from webxen.api.problems import fields_of
from webxen.api.schema import Described
from webxen.api.serializers import JobSerializer
from webxen.core import held_reads
from webxen.core.errors import InvalidError, UserError
from webxen.core.messages import Message
from webxen.jobs.models import Job

SAFE = ("GET", "HEAD", "OPTIONS")
READ = "read"
#: methods that change something and may be repeated with one Idempotency-Key
KEYED = ("post", "put", "patch", "delete")


class LengthRequiredError(UserError):
    """A body without a length would be treated as empty."""

    code = "LENGTH_REQUIRED"
    status = 411


class TokenAllows(BasePermission):
    """A token with the scope `read` allows only safe methods. A session has no token."""

    message = Message("TOKEN_READ_ONLY")
    code = message.code

    def has_permission(self, request: Request, view: APIView) -> bool:
        token = request.auth
        if not isinstance(token, ApiToken) or not token.scopes or request.method in SAFE:
            return True
        return READ not in token.scopes


class IsStaff(BasePermission):
    message = Message("STAFF_ONLY")
    code = message.code

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user.is_staff)


class AlwaysFirst(BaseContentNegotiation):
    """Always answers JSON, whatever the client accepts."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class NoQuery(serializers.Serializer[Any]):
    """No parameters."""


class NoBody(serializers.Serializer[Any]):
    """No fields: an empty body, or {}."""


class ApiView(APIView):
    """One operation, or several of one URL."""

    permission_classes = [IsAuthenticated, TokenAllows]
    content_negotiation_class = AlwaysFirst
    schema = Described()
    #: parameters of GET; others are refused instead of ignored
    QuerySerializer: ClassVar[type[serializers.Serializer[Any]]] = NoQuery

    #: whether changes accept an Idempotency-Key; keys belong to users, so the caller must be authenticated
    takes_key: ClassVar[bool] = True

    #: set if all methods of the view are deprecated
    deprecation: ClassVar[Deprecation | None] = None

    query: dict[str, Any]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if request.method not in ("GET", "HEAD"):
            # read completely while Django limits its size, and before CSRF checks of a session parse it: the
            # Idempotency-Key needs the bytes, the parser the content
            _ = request.body
        super().initial(request, *args, **kwargs)
        if request.method in ("GET", "HEAD"):
            self.query = _read_query(request, self.QuerySerializer)
            return
        # parameters of changes are refused instead of ignored: ?dry_run=true must not delete
        _read_query(request, NoQuery)
        if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH"):
            raise LengthRequiredError(Message("LENGTH_MISSING"))
        key = request.headers.get(HEADER)
        name = (request.method or "").lower()
        handler = getattr(self, name, None)
        if self.takes_key and name in KEYED and key is not None and handler is not None:
            # each request has its own instance, so its handler can be wrapped
            setattr(self, name, self._with_key(handler, key))

    def perform_authentication(self, request: Request) -> None:
        """Authenticate, then check the rate limits before anything is refused or done."""
        super().perform_authentication(request)
        if not held_reads.has_waited(request.META):
            super().check_throttles(request)

    def check_throttles(self, request: Request) -> None:
        """Already done in perform_authentication."""

    def _with_key(self, handler: Callable[..., Response], untrusted_key: str) -> Callable[..., Response]:
        def once(request: Request, *args: Any, **kwargs: Any) -> Response:
            return answer_once(request, self.user, untrusted_key, partial(handler, request, *args, **kwargs))

        return once

    @property
    def default_response_headers(self) -> dict[str, str]:
        """Answers are personal and may contain a secret: no cache may store them."""
        going = self.deprecation.headers if self.deprecation else {}
        return {**super().default_response_headers, "Cache-Control": "no-store", **going}

    @property
    def user(self) -> User:
        """The user. Only for views with IsAuthenticated. Raises PermissionDenied."""
        if not isinstance(self.request.user, User):
            raise PermissionDenied
        return self.request.user

    @property
    def token(self) -> ApiToken | None:
        """The API token of the request; None for a session."""
        return self.request.auth if isinstance(self.request.auth, ApiToken) else None

    def body(self, shape: type[serializers.Serializer[Any]], *, partial: bool = False) -> dict[str, Any]:
        """Return the validated body. Raises InvalidError with every wrong field."""
        untrusted: Any = self.request.data
        serializer = shape(data=untrusted, partial=partial)
        if untrusted is None and not serializer.fields:
            return {}  # some clients send null for an empty body
        if not isinstance(untrusted, dict):
            raise InvalidError(Message("SEND_OBJECT") if serializer.fields else Message("SEND_NO_BODY"))
        fields = {
            name: [Message("NO_SUCH_FIELD")] for name in sorted(set(untrusted) - set(serializer.fields))
        }
        try:
            serializer.is_valid(raise_exception=True)
        except serializers.ValidationError as error:
            fields |= fields_of(error)
        if fields:
            raise InvalidError(Message("FIELDS_INVALID"), fields=fields)
        return dict(serializer.validated_data)

    def page(
        self,
        rows: QuerySet[Any],
        shape: type[serializers.BaseSerializer[Any]],
        *,
        order: tuple[str, ...] = ("-created_at",),
    ) -> Response:
        pages = Pages()
        pages.ordering = order
        found: list[Model] = pages.paginate_queryset(rows, self.request, view=self) or []
        shown = shape(found, many=True, context=self.context(found)).data
        return pages.get_paginated_response(shown)

    def one(self, row: Any, shape: type[serializers.BaseSerializer[Any]], *, status: int = 200) -> Response:
        return Response(shape(row, context=self.context([row])).data, status=status)

    def context(self, rows: Sequence[Any]) -> dict[str, Any]:
        """Context of the serializers."""
        return {}

    def accepted(self, job: Job) -> Response:
        """Return 202 with the job; its Location is the job's URL."""
        response = self.one(job, JobSerializer, status=202)
        response["Location"] = self.address("job", job.id)
        return response

    def address(self, name: str, row_id: UUID | None) -> str:
        return self.request.build_absolute_uri(reverse(f"api:{name}", args=[row_id]))


class StaffDoor(ApiView):
    permission_classes = [IsAuthenticated, TokenAllows, IsStaff]


class PageQuery(serializers.Serializer[Any]):
    """Parameters of every list."""

    cursor = serializers.CharField(required=False, help_text="From `next` or `previous`.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=200)


def _read_query(request: Request, shape: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    serializer = shape(data=request.query_params.dict())
    names = set(request.query_params)
    unknown = sorted(names - set(serializer.fields))
    twice = sorted(name for name in names if len(request.query_params.getlist(name)) > 1)
    try:
        serializer.is_valid(raise_exception=True)
        fields = {}
    except serializers.ValidationError as error:
        fields = fields_of(error)
    fields |= {name: [Message("NO_SUCH_PARAMETER")] for name in unknown}
    fields |= {name: [Message("PARAMETER_TWICE")] for name in twice}
    if fields:
        raise InvalidError(Message("PARAMETERS_INVALID"), fields=fields)
    return dict(serializer.validated_data)
