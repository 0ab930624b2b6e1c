"""Registers the kind of job MIGRATE when Django starts; nothing else happens here."""

from django.apps import AppConfig


class Migration(AppConfig):
    name = "webxen.migration"

    def ready(self) -> None:
        from webxen.migration import kind

        kind.register()
