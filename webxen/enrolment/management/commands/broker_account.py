"""manage.py broker_account NAME: set a host's broker password, read from standard input.

For installations that distribute passwords themselves; a host that enrols with a token gets its own.
"""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webxen.core import clock
from webxen.core.errors import UserError
from webxen.enrolment import broker_accounts


class Command(BaseCommand):
    help = "Make a host's broker account with the password given on standard input."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            broker_accounts.set_password(
                name=options["name"], password=sys.stdin.readline().strip(), now=clock.now()
            )
        except (UserError, ValueError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{options['name']} has its broker account.")
