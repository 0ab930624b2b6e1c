"""manage.py verify: compare the database with the hosts.

Exit status 0: all agrees. 1: something differs. 2: nothing differs, but not all was visible.
"""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webxen.accounts import queries as accounts
from webxen.core import clock
from webxen.core.errors import NotFoundError
from webxen.diagnostics import findings
from webxen.diagnostics.verify import verify


class Command(BaseCommand):
    help = "Compare the database with the hosts. Nothing is changed without --fix."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", help="only what is about this host")
        parser.add_argument("--json", action="store_true", help="for scripts")
        parser.add_argument("--fix", action="store_true", help="mend what is safe; never a disk or a domain")
        parser.add_argument("--staff", help="in whose name --fix mends; without: the first member of staff")

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        staff = accounts.staff_named(username=options["staff"]) if options["fix"] else None
        if options["fix"] and staff is None:
            raise CommandError("--fix needs a member of staff, and there is no such one.", returncode=2)
        try:
            verdict = verify(host=options["host"], fixed_by=staff, now=now)
        except NotFoundError as error:
            raise CommandError(str(error), returncode=2) from None
        status = findings.exit_status(verdict.findings)
        if options["json"]:
            found = [finding.as_json() for finding in verdict.findings]
            said = {"status": status, "at": now.isoformat(), "summary": verdict.summary}
            self.stdout.write(json.dumps({**said, "findings": found, "mended": verdict.mended}, indent=2))
        else:
            for line in verdict.mended:
                self.stdout.write(f"mended: {findings.printable(line)}")
            self.stdout.write(findings.as_text(verdict.findings, summary=verdict.summary))
        if status:
            sys.exit(status)
