"""Registers the system checks when Django starts."""

from django.apps import AppConfig


class Core(AppConfig):
    name = "webxen.core"

    def ready(self) -> None:
        from webxen.core import checks  # noqa: F401 - importing it registers them
