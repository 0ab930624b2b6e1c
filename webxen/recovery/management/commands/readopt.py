"""manage.py readopt: take machines back that hosts have and the database has lost.

Exit status 0: all were taken back. 1: at least one was not.
"""

import sys
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from webxen.accounts import queries as accounts
from webxen.core import clock
from webxen.core.errors import UserError
from webxen.diagnostics import findings
from webxen.recovery import readoption


class Command(BaseCommand):
    help = "Take machines back that hosts have and the database has lost. Nothing on a host is touched."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("machines", nargs="*", type=UUID, help="their ids, as verify shows them")
        parser.add_argument("--all", action="store_true", help="every one that hosts show")
        parser.add_argument("--name", default="", help="another name than it had (one machine)")
        parser.add_argument("--project", default="", help="slug of another project than it was in")
        parser.add_argument("--owner", default="", help="username of another owner than it had")
        parser.add_argument("--staff", help="in whose name; without: the first member of staff")

    def handle(self, *args: Any, **options: Any) -> None:
        staff = accounts.staff_named(username=options["staff"])
        if staff is None:
            raise CommandError("There is no such member of staff.", returncode=2)
        wanted = readoption.missing() if options["all"] else options["machines"]
        if options["name"] and len(wanted) != 1:
            raise CommandError("--name is for one machine.", returncode=2)
        changed = readoption.Changed(options["name"], options["project"], options["owner"])
        refused = 0
        for machine_id in wanted:
            try:
                machine = readoption.readopt(
                    staff=staff, machine_id=machine_id, changed=changed, now=clock.now()
                )
            except UserError as error:
                refused += 1
                self.stdout.write(findings.printable(f"{machine_id}: not taken back. {error}"))
                continue
            said = f"{machine.name} ({machine_id}) is taken back: on {machine.host}, {machine.power.lower()}."
            self.stdout.write(findings.printable(said))
        if not wanted:
            self.stdout.write("No host shows a machine that the database has not.")
        if refused:
            sys.exit(1)
