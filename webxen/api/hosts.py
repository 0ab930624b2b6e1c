"""Hosts API: staff's list and decisions, and the requests that hosts make, signed with their key."""

import base64
import binascii
from dataclasses import asdict
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from webxen.api.base import ApiView, NoBody, PageQuery, StaffDoor
from webxen.api.fields import StrictFlag, StrictNumber, StrictText
from webxen.api.serializers import HostSerializer, page_of
from webxen.core import clock
from webxen.enrolment import joining, trust
from webxen.enrolment import removal as machines
from webxen.inventory import queries
from worker import contract


class PublicKey(StrictText):
    """One PEM block."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=400, help_text="Ed25519, PEM.", trim_whitespace=False, **options)


class Signature(StrictText):
    """Base64 of 64 bytes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=100, help_text="Base64.", **options)

    def to_internal_value(self, data: Any) -> Any:
        try:
            return base64.b64decode(super().to_internal_value(data), validate=True)
        except (binascii.Error, ValueError):
            raise serializers.ValidationError("Send base64.") from None


class WelcomeSerializer(serializers.Serializer[Any]):
    host = serializers.CharField()
    portal_keys = serializers.ListField(child=serializers.CharField(), help_text="PEM.")
    serial = serializers.IntegerField(help_text="A word on keys with a lower one is older.")
    broker_url = serializers.CharField(
        allow_blank=True, help_text="With this host's own account. Empty: unchanged."
    )
    broker_ca = serializers.CharField(allow_blank=True, help_text="What the broker's certificate must show.")
    queue = serializers.CharField()


class Hosts(StaffDoor):
    QuerySerializer = PageQuery

    class InputSerializer(serializers.Serializer[Any]):
        name = StrictText(max_length=40)
        rejoin = StrictFlag(
            required=False, default=False, help_text="May replace the key of a host that is there."
        )

    class OutputSerializer(serializers.Serializer[Any]):
        name = serializers.CharField()
        token = serializers.CharField(help_text="Shown this once, kept nowhere. Works once.")
        expires_at = serializers.DateTimeField()
        command = serializers.CharField(help_text="What to run on the host.")

    @extend_schema(operation_id="list_hosts", responses=page_of(HostSerializer), tags=["hosts"])
    def get(self, request: Request) -> Response:
        """The dom0s, with all facts of `xl info`."""
        return self.page(queries.hosts_visible_to(user=self.user), HostSerializer, order=("name",))

    @extend_schema(
        operation_id="invite_host",
        request=InputSerializer,
        responses={201: OutputSerializer},
        tags=["hosts"],
    )
    def post(self, request: Request) -> Response:
        """Create a token with which a host of this name can enrol once within an hour."""
        wanted = self.body(self.InputSerializer)
        token, secret = joining.make_token(
            staff=self.user, name=wanted["name"], is_rejoin=wanted["rejoin"], now=clock.now()
        )
        shown = {
            "name": token.name,
            "token": secret,
            "expires_at": token.expires_at,
            "command": f"webxen-worker join {request.build_absolute_uri('/').rstrip('/')}",
        }
        return self.one(shown, self.OutputSerializer, status=status.HTTP_201_CREATED)


class HostDoor(StaffDoor):
    """Base of views about one host, given by its id or name in the URL."""

    def host_id(self, host: str) -> UUID:
        return queries.get_visible_host_called(user=self.user, untrusted=host).id


class Host(HostDoor):
    @extend_schema(operation_id="get_host", responses=HostSerializer, tags=["hosts"])
    def get(self, request: Request, host: str) -> Response:
        """One dom0, by its id or name."""
        return self.one(queries.get_visible_host_called(user=self.user, untrusted=host), HostSerializer)

    @extend_schema(operation_id="remove_host", responses={204: None}, tags=["hosts"])
    def delete(self, request: Request, host: str) -> Response:
        """Remove a host without machines permanently: its account is deleted and its key no longer
        trusted.
        """
        machines.remove_host(staff=self.user, host_id=self.host_id(host), now=clock.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


class Accept(HostDoor):
    class InputSerializer(serializers.Serializer[Any]):
        fingerprint = StrictText(
            max_length=60, help_text="As `webxen-worker join` printed it; another key is not accepted."
        )

    @extend_schema(
        operation_id="accept_host", request=InputSerializer, responses=HostSerializer, tags=["hosts"]
    )
    def post(self, request: Request, host: str) -> Response:
        """Accept this host: its reports are trusted and it receives orders."""
        wanted = self.body(self.InputSerializer)
        accepted = joining.accept(
            staff=self.user, host_id=self.host_id(host), fingerprint=wanted["fingerprint"], now=clock.now()
        )
        return self.one(accepted, HostSerializer)


class Reject(HostDoor):
    @extend_schema(operation_id="reject_host", request=NoBody, responses={204: None}, tags=["hosts"])
    def post(self, request: Request, host: str) -> Response:
        """Reject a host that waits for acceptance; its account is deleted at once."""
        self.body(NoBody)
        joining.reject(staff=self.user, host_id=self.host_id(host), now=clock.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


class HostsOwnDoor(ApiView):
    """Base of requests made by hosts: the token or the signature in the body authenticates them."""

    authentication_classes = []
    permission_classes = []
    takes_key = False


class Join(HostsOwnDoor):
    class InputSerializer(serializers.Serializer[Any]):
        token = StrictText(max_length=100)
        public_key = PublicKey()
        proof = Signature()

    @extend_schema(
        operation_id="join",
        request=InputSerializer,
        responses={201: WelcomeSerializer},
        tags=["hosts"],
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """For `webxen-worker join`: show a key and prove its possession. Staff must then accept the host."""
        wanted = self.body(self.InputSerializer)
        welcome = trust.join(
            untrusted_token=wanted["token"],
            untrusted_key=wanted["public_key"],
            untrusted_proof=wanted["proof"],
            now=clock.now(),
        )
        return self.one(asdict(welcome), WelcomeSerializer, status=status.HTTP_201_CREATED)


class RotateKey(HostsOwnDoor):
    class InputSerializer(serializers.Serializer[Any]):
        host = StrictText(max_length=contract.MAX_HOST_NAME)
        public_key = PublicKey()
        at = StrictNumber(help_text="Unix time, within five minutes of the portal's.")
        signature = Signature()
        proof = Signature()

    class OutputSerializer(serializers.Serializer[Any]):
        host = serializers.CharField()

    @extend_schema(
        operation_id="rotate_host_key",
        request=InputSerializer,
        responses=OutputSerializer,
        tags=["hosts"],
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """For `webxen-worker rotate-key`: the next key, signed with the present one and with itself."""
        wanted = self.body(self.InputSerializer)
        host = joining.rotate_key(
            name=wanted["host"],
            untrusted_key=wanted["public_key"],
            at=wanted["at"],
            untrusted_signature=wanted["signature"],
            untrusted_proof=wanted["proof"],
            now=clock.now(),
        )
        return self.one({"host": host.name}, self.OutputSerializer)


class Refresh(HostsOwnDoor):
    class InputSerializer(serializers.Serializer[Any]):
        host = StrictText(max_length=contract.MAX_HOST_NAME)
        at = StrictNumber(help_text="Unix time, within five minutes of the portal's.")
        new_password = StrictFlag(required=False, default=False)
        signature = Signature()

    @extend_schema(
        operation_id="refresh_host",
        request=InputSerializer,
        responses=WelcomeSerializer,
        tags=["hosts"],
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """For `webxen-worker refresh`: the portal's present keys and, if requested, a new broker password."""
        wanted = self.body(self.InputSerializer)
        welcome = trust.refresh(
            name=wanted["host"],
            at=wanted["at"],
            wants_password=wanted["new_password"],
            untrusted_signature=wanted["signature"],
            now=clock.now(),
        )
        return self.one(asdict(welcome), WelcomeSerializer)
