"""Where the web server enters: HTTP to Django, WebSockets to their consumers."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webxen.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

# Django must be ready before anything that has models is imported.
http = get_asgi_application()

from webxen.console.routing import websocket_urlpatterns as console_patterns  # noqa: E402

try:
    from webxen.web.routing import websocket_urlpatterns as web_patterns
except ImportError:
    web_patterns = []

application = ProtocolTypeRouter({"http": http, "websocket": URLRouter([*console_patterns, *web_patterns])})
