"""Ed25519 keys of a host and of the portal: generate, read, sign, verify.

All use of `cryptography` for them is here. What is signed is defined in `worker.contract`.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from worker.contract import membership

logger = logging.getLogger(__name__)
T = TypeVar("T")


class KeyUnusable(Exception):
    """The file holds no Ed25519 key of the required kind."""


def generate() -> tuple[bytes, bytes]:
    """A new key pair: the private key (PEM, PKCS8) and the public key (PEM)."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def public_of(private_pem: bytes) -> bytes:
    """The public key (PEM) of a private key (PEM). Raises KeyUnusable."""
    return (
        _private(private_pem, "the private key")
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )


def signer(private_pem: bytes) -> Callable[[bytes], bytes]:
    """The `sign` function for `contract.seal`. Raises KeyUnusable."""
    return _private(private_pem, "the private key").sign


def verifier(public_pem: bytes) -> Callable[[str, bytes, bytes], bool]:
    """The `verify` function for `contract.open_envelope`, with this one key. Raises KeyUnusable."""
    key = _public(public_pem, "the public key")

    def verify(_host: str, signed: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    return verify


def read_signer(path: Path) -> Callable[[bytes], bytes]:
    """A `sign` function with the key in this file, which is read again when it changes.

    Raises KeyUnusable, OSError.
    """
    latest = _Latest(path, lambda pem: _private(pem, str(path)).sign)
    return lambda data: latest.get()(data)  # noqa: PLW0108 - another one each time the file changed


def read_verifier(path: Path) -> Callable[[str, bytes, bytes], bool]:
    """A `verify` function with all public keys in this file, which is read again when it changes.

    Raises KeyUnusable, OSError.
    """

    def read(text: bytes) -> list[Callable[[str, bytes, bytes], bool]]:
        found = membership.split_pems(text.decode(errors="replace"))
        if not found:
            raise KeyUnusable(f"{path} holds no public key in PEM")
        return [verifier(pem.encode()) for pem in found]

    latest = _Latest(path, read)
    return lambda host, signed, signature: any(verify(host, signed, signature) for verify in latest.get())


class _Latest(Generic[T]):
    """The parsed content of a file, read again when the file was replaced.

    An unreadable file changes nothing.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        self._path = path
        self._parse = parse
        self._seen = self._look()
        self._value = parse(path.read_bytes())

    def get(self) -> T:
        try:
            seen = self._look()
            if seen != self._seen:
                self._value = self._parse(self._path.read_bytes())
                self._seen = seen
        except (OSError, KeyUnusable) as error:
            logger.warning("%s is not read again: %s", self._path, error)
        return self._value

    def _look(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_ino, status.st_mtime_ns, status.st_size


def _private(pem: bytes, where: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise KeyUnusable(f"{where} holds no private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{where} holds a key that is not Ed25519")
    return key


def _public(pem: bytes, where: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise KeyUnusable(f"{where} holds no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable(f"{where} holds a key that is not Ed25519")
    return key
