"""manage.py after_restore: the first step after a backup of the database was restored."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from webxen.accounts import queries as accounts
from webxen.core import clock
from webxen.recovery import after_restore

NEXT = """The portal now gives no order and no address until staff has looked.
Next: start the portal, wait until its hosts were heard of (manage.py verify), then
  manage.py readopt --all     takes back machines that were made since the backup
  manage.py verify --fix      mends what is safe to mend
  manage.py end_restore       confirms that you have looked
Passwords, memberships and staff rights are those of the backup: change what was changed since.
A host that stays silent may have changed its key or its password since: let it join again."""


class Command(BaseCommand):
    help = "Hold all orders, sign everybody out and revoke all tokens, after a backup was restored."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--staff", help="in whose name; without: the portal's own")
        parser.add_argument(
            "--keep-tokens", action="store_true", help="also those that were revoked since the backup"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["staff"]
        staff = accounts.staff_named(username=name) if name else None
        done = after_restore.begin(staff=staff, keeps_tokens=options["keep_tokens"], now=clock.now())
        self.stdout.write(f"{done.sessions} sessions ended, everybody signs in again.")
        if options["keep_tokens"]:
            self.stdout.write("API tokens kept: one that was revoked since the backup is good again.")
        else:
            self.stdout.write(f"{done.tokens} API tokens revoked, people make new ones.")
        self.stdout.write(f"{done.join_tokens} unused join tokens made void.")
        self.stdout.write(NEXT)
