"""manage.py burnin HOST: try every verb on a host with real machines, then verify.

Exit status 0: passed. 1: something failed. 2: not started. 130: stopped by Ctrl-C.
"""

import json
import signal
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webxen.core import clock
from webxen.core.errors import UserError
from webxen.diagnostics import burnin

MAX_MACHINES = 100
REST_SECONDS = 0.2


class Command(BaseCommand):
    help = "The acceptance run of a host: every verb on N machines, each followed by 'is it alive?'."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("host")
        parser.add_argument("--machines", type=_count, default=2, help="how many at the same time (2)")
        parser.add_argument("--image", default="minimal", help="short name of the image (minimal)")
        parser.add_argument("--size", default="tiny", help="short name of the size (tiny)")
        parser.add_argument("--staff", help="who runs it; without: the first member of staff")
        parser.add_argument("--keep", action="store_true", help="leave the machines running")
        parser.add_argument("--json", action="store_true", help="for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            plan = burnin.prepare(
                host=options["host"],
                machines=options["machines"],
                image=options["image"],
                size=options["size"],
                staff=options["staff"],
                is_keeping=options["keep"],
                now=clock.now(),
            )
        except UserError as error:
            raise CommandError(str(error), returncode=2) from None
        say = (self.stderr if options["json"] else self.stdout).write
        say(burnin.describe(plan))
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            result = burnin.run(plan=plan, clock=clock.now, rest=_rest, say=say)
        finally:
            signal.signal(signal.SIGTERM, before)
        self.stdout.write(json.dumps(result.as_json(), indent=2) if options["json"] else result.as_text())
        if not result.has_passed:
            sys.exit(130 if result.is_interrupted else 1)


def _rest() -> None:
    time.sleep(REST_SECONDS)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Handle SIGTERM as Ctrl-C: delete what was created."""
    raise KeyboardInterrupt


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_MACHINES:
        raise ArgumentTypeError(f"a number from 1 to {MAX_MACHINES}")
    return int(text)
