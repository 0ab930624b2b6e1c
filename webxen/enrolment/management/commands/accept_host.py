"""manage.py accept_host NAME --key-file PEM: register a host and trust this key."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.core.management.base import BaseCommand, CommandError

from webxen.core import clock
from webxen.inventory import operations
from worker import contract


class Command(BaseCommand):
    help = "Register a dom0 with the public key its worker signs with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--key-file", required=True, type=Path, help="Ed25519 public key, PEM")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            name = contract.read_host_name(options["name"])
        except ValueError as error:
            raise CommandError(f"This is no host's name. {error}") from None
        try:
            pem = options["key_file"].read_text()
            key = load_pem_public_key(pem.encode())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise CommandError(f"{options['key_file']} holds no public key: {error}") from None
        if not isinstance(key, Ed25519PublicKey):
            raise CommandError(f"{options['key_file']} is not an Ed25519 key")
        host = operations.accept_host(name=name, public_key=pem, now=clock.now())
        self.stdout.write(f"{host.name} is known; it appears with its facts once its worker speaks.")
