"""manage.py portal_key: create the signing key if there is none, print its public key, rotate it."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from webxen.core import portal_key


class Command(BaseCommand):
    help = (
        "Make the portal's signing key unless it exists; print its public half for the hosts. "
        "--rotate puts a new one in place without any host being locked out."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--public-out", type=Path, help="also write the public half to this file")
        parser.add_argument(
            "--rotate",
            action="store_true",
            help="make a new key; each host learns of it by itself and gets orders signed with the old one "
            "until it has said that it knows the new one",
        )
        parser.add_argument(
            "--forget-old",
            action="store_true",
            help="end a rotation now: hosts that do not know the new key must run `webxen-worker join` again",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.WEBXEN_PORTAL_KEY_FILE
        portal_key.make_portal_key(path)
        if options["forget_old"]:
            portal_key.forget_old(path)
        if options["rotate"]:
            try:
                portal_key.rotate(path)
            except portal_key.RotationUnderWay as error:
                raise CommandError(f"{error}. --forget-old ends it all the same.") from None
        pem = portal_key.public_pem(path)
        if options["public_out"]:
            _write(options["public_out"], pem)
        self.stdout.write(pem, ending="")


def _write(path: Path, pem: str) -> None:
    is_new = not path.exists()
    with path.open("w") as file:
        if is_new:
            portal_key.give_to_owner_of_folder(file.fileno(), path.parent)
        file.write(pem)
