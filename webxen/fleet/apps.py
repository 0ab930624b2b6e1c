"""Registers evacuations with the sweep of jobs when Django starts."""

from django.apps import AppConfig


class Fleet(AppConfig):
    name = "webxen.fleet"

    def ready(self) -> None:
        from webxen.fleet import evacuation, retention
        from webxen.jobs import kinds

        kinds.follow_up("evacuations", evacuation.advance)
        kinds.keep(retention.is_a_step)
