"""Registers the system checks when Django starts."""

from django.apps import AppConfig


class Jobs(AppConfig):
    name = "webxen.jobs"

    def ready(self) -> None:
        from webxen.jobs import checks  # noqa: F401 - importing it registers them
