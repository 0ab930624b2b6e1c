"""URL of the events socket."""

from channels.auth import AuthMiddlewareStack
from django.urls import path

from webxen.web.consumers import EventsConsumer

websocket_urlpatterns = [path("ws/events/", AuthMiddlewareStack(EventsConsumer.as_asgi()))]
