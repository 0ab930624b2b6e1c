"""Registers the job kind MIGRATE when Django starts."""

from django.apps import AppConfig


class Migration(AppConfig):
    name = "webxen.migration"

    def ready(self) -> None:
        from webxen.migration import kind

        kind.register()
