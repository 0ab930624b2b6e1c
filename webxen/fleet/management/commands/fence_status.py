"""manage.py fence_status: ask each fence agent whether its host is on. Changes nothing.

Exit status 0: all have answered. 1: one has not.
"""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from webxen.fleet import fencing


class Command(BaseCommand):
    help = "Ask each fence agent whether its host is on. Nothing is switched."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("hosts", nargs="*", help="only these")

    def handle(self, *args: Any, **options: Any) -> None:
        known = settings.WEBXEN_FENCES
        if unknown := sorted(set(options["hosts"]) - set(known)):
            raise CommandError(f"not in WEBXEN_FENCE_FILE: {', '.join(unknown)}")
        is_whole = True
        for host in options["hosts"] or sorted(known):
            word = fencing.ask_status(fence=known[host])
            is_whole &= word in ("on", "off")
            self.stdout.write(f"{host}: {known[host].agent}: {word}")
        if not is_whole:
            sys.exit(1)
