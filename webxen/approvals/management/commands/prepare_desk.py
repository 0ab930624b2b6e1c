"""manage.py prepare_desk: prepare a trial portal in one start of Python.

`make up` calls it. Without options it prepares the database and the signing key, with them also accounts,
images and hosts.
"""

import fcntl
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Migrate, make the signing key; then seed accounts and images and accept hosts as asked."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--public-out", type=Path, help="where the signing key's public half goes")
        parser.add_argument("--images", type=Path, help="JSON list of images")
        parser.add_argument("--out", type=Path, help="where the accounts are written (0600)")
        parser.add_argument("--host", nargs=2, action="append", default=[], metavar=("NAME", "KEY_FILE"))

    def handle(self, *args: Any, **options: Any) -> None:
        # A caller that was killed leaves this process running: a second one waits for its end.
        with (settings.DATA / "prepare.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._prepare(options)

    def _prepare(self, options: dict[str, Any]) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("portal_key", public_out=options["public_out"], stdout=self.stdout)
        if options["out"]:
            call_command("seed_demo", images=options["images"], out=options["out"], stdout=self.stdout)
        for name, key_file in options["host"]:
            call_command("accept_host", name, key_file=Path(key_file), stdout=self.stdout)
