"""manage.py portal_key: make the key that signs orders, if there is none, and give its public half."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from webxen.jobs import signing


class Command(BaseCommand):
    help = "Make the portal's signing key unless it exists; print its public half for the hosts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--public-out", type=Path, help="also write the public half to this file")

    def handle(self, *args: Any, **options: Any) -> None:
        signing.make_portal_key(settings.WEBXEN_PORTAL_KEY_FILE)
        pem = signing.public_pem(settings.WEBXEN_PORTAL_KEY_FILE)
        if options["public_out"]:
            options["public_out"].write_text(pem)
        self.stdout.write(pem, ending="")
