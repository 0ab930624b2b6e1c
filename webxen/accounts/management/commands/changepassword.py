"""Set a user's password on the portal's machine. Unlike Django's command of that name, it writes to the
audit.
"""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from webxen.accounts import operations, queries
from webxen.accounts.models import User
from webxen.core import clock

TRIES = 3


class Command(BaseCommand):
    help = "Give a person a new password, asked for twice. The audit says that it was done here."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", nargs="?", help="whose; by default, of your own name here")

    def handle(self, *args: Any, **options: Any) -> None:
        username = options["username"] or getpass.getuser()
        user = queries.user_named(username=username)
        if user is None:
            raise CommandError(f"There is no account {username}.")
        for _ in range(TRIES):
            if password := self._ask(user):
                operations.set_password(user=user, password=password, now=clock.now())
                self.stdout.write(f"{username} has a new password; all other sessions of {username} ended.")
                return
        raise CommandError(f"{username} has the same password as before.")

    def _ask(self, user: User) -> str:
        """Return an acceptable password, or "" after printing why not. Raises CommandError if nothing was
        typed.
        """
        password = getpass.getpass(f"New password for {user.username}: ")
        if not password:
            raise CommandError(f"Nothing was typed: {user.username} has the same password as before.")
        if getpass.getpass("The same again: ") != password:
            self.stderr.write("These were two different passwords.")
            return ""
        try:
            validate_password(password, user)
        except ValidationError as error:
            self.stderr.write("\n".join(error.messages))
            return ""
        return password
