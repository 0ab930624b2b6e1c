"""The OpenAPI 3.1 document and its Swagger page."""

from hashlib import sha256
from threading import Lock
from typing import Any

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.cache import get_conditional_response
from django.utils.decorators import method_decorator
from django.utils.encoding import force_bytes
from django.utils.http import quote_etag
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="Send the same key to get the first answer again instead of a second change; kept for a day.",
)


class FieldError(serializers.Serializer[Any]):
    """What is wrong with one field: a code with its parameters, and the sentence they make in English."""

    code = serializers.CharField()
    params = serializers.DictField()
    message = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """RFC 9457. `code` is stable; docs/errors.md lists every one with its cure."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="One sentence for a person.")
    code = serializers.CharField(
        help_text="The kind of problem: what a program decides by; more may be added."
    )
    reason = serializers.CharField(help_text="What `detail` says, as a code; finer than `code`.")
    params = serializers.DictField(help_text="What is put into the sentence of `reason`.")
    reference = serializers.CharField(
        help_text="The request's id, as in X-Request-Id: staff finds it in the log."
    )
    # the framework removes this class attribute when it collects fields
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=FieldError()),
        required=False,
        help_text="What is wrong, by field.",
    )
    job = serializers.UUIDField(required=False, help_text="With JOB_OPEN: the job that is in the way.")
    job_url = serializers.URLField(required=False, help_text="With JOB_OPEN: where to follow that job.")
    shortage = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField()),
        required=False,
        help_text="With QUOTA_EXCEEDED: resource to `needed`, `reserved`, `limit` and `missing`.",
    )


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "webxen.api.authentication.BearerToken"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "wx_…"}


class Described(AutoSchema):
    """Schema of an operation: unique names for nested serializers, problems as error responses."""

    def get_serializer_name(self, serializer: Any, direction: str) -> str:
        parts = type(serializer).__qualname__.split(".")
        return "".join(part.removesuffix("Serializer").removesuffix("Shape") for part in parts)

    def get_filter_backends(self) -> list[Any]:
        return []

    def get_override_parameters(self) -> list[Any]:
        if self.method in ("POST", "PUT", "PATCH", "DELETE"):
            return [IDEMPOTENCY_KEY] if getattr(self.view, "takes_key", False) else []
        shape = getattr(self.view, "QuerySerializer", None)
        return [shape] if self.method == "GET" and shape is not None and shape().fields else []

    def is_deprecated(self) -> bool:
        return getattr(self.view, "deprecation", None) is not None

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation:
            problem = self.resolve_serializer(Problem, "response").ref
            operation["responses"]["default"] = {
                "description": "Refused, and why.",
                "content": {"application/problem+json": {"schema": problem}},
            }
        return operation


class Document(SpectacularAPIView):
    """The OpenAPI document, built once per process and format, then served as bytes with an ETag."""

    permission_classes = [AllowAny]
    authentication_classes = []

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        renderer = self.perform_content_negotiation(request, force=True)[0]
        body, etag = _build(type(renderer))
        answer = get_conditional_response(request, etag=etag)
        if answer is None:
            answer = HttpResponse(body, content_type=renderer.media_type)
            answer["Content-Disposition"] = f'inline; filename="WebXen.{renderer.format}"'
        answer["ETag"] = etag
        answer["Cache-Control"] = "public, max-age=60"
        return answer


_building = Lock()
_built: dict[type[BaseRenderer], tuple[bytes, str]] = {}


def _build(renderer: type[BaseRenderer]) -> tuple[bytes, str]:
    """Return the document in this format and its ETag. Concurrent requests wait while it is built."""
    with _building:
        if renderer not in _built:
            # always in English, whatever the language of the first request
            with translation.override("en"):
                schema = Document.generator_class().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
                body = force_bytes(renderer().render(schema, renderer_context={}))
            _built[renderer] = (body, quote_etag(sha256(body).hexdigest()[:32]))
        return _built[renderer]


#: Swagger UI inserts style elements; only inline styles are allowed, no inline scripts.
_LET_STYLES_IN = csp_update({"style-src": [SELF, UNSAFE_INLINE]})


@method_decorator(_LET_STYLES_IN, name="dispatch")
class Reference(SpectacularSwaggerSplitView):
    http_method_names = ("get", "head")  # the framework's answer to OPTIONS has no template and ends in a 500
    permission_classes = [AllowAny]
    url_name = "api:schema"
