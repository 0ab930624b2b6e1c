"""manage.py end_restore: confirm that a restored database was checked; the portal gives orders again."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webxen.accounts import queries as accounts
from webxen.core import clock
from webxen.core.errors import NotFoundError
from webxen.recovery import after_restore


class Command(BaseCommand):
    help = "Confirm that staff has looked at a restored database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--staff", help="in whose name; without: the first member of staff")

    def handle(self, *args: Any, **options: Any) -> None:
        staff = accounts.staff_named(username=options["staff"])
        if staff is None:
            raise CommandError("There is no such member of staff.")
        try:
            restore = after_restore.confirm(staff=staff, now=clock.now())
        except NotFoundError:
            raise CommandError("Nothing waits for staff to look: orders are given.") from None
        self.stdout.write(f"Jobs are sent again. They were held since {restore.begun_at:%Y-%m-%d %H:%M} UTC.")
