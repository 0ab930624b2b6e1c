"""URLs of the console sockets."""

from channels.auth import AuthMiddlewareStack
from django.urls import path

from webxen.console.consumers import console_socket

websocket_urlpatterns = [path("ws/console/<uuid:machine_id>/", AuthMiddlewareStack(console_socket))]
