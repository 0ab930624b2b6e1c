"""Authentication by bearer token. Session authentication is Django REST framework's own.

base.py checks the scopes of a token; accounts stores tokens.
"""

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from webxen.accounts import tokens
from webxen.accounts.models import ApiToken, User
from webxen.api.throttles import WrongTokenThrottle
from webxen.core import clock, request_context
from webxen.core.messages import Message


class BearerToken(BaseAuthentication):
    """`Authorization: Bearer wx_…`"""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, untrusted_secret = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        try:
            found = tokens.user_for(secret=untrusted_secret.strip().decode("ascii"), now=clock.now())
        except UnicodeDecodeError:
            found = None
        if found is None:
            throttle = WrongTokenThrottle()
            if not throttle.allow_request(request, None):
                raise Throttled(throttle.wait())
            raise AuthenticationFailed(Message("TOKEN_NOT_VALID"), code="TOKEN_NOT_VALID")
        request_context.note_token(found[1].id)
        return found

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="webxen"'
