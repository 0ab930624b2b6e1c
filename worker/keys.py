"""Ed25519 keys of a host and of the portal: make, read, sign, verify.

Lives here: everything that touches `cryptography`. What is signed is decided in `contract`.
"""

from collections.abc import Callable
from pathlib import Path

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


class KeyUnusable(Exception):
    """The file holds no Ed25519 key of the kind asked for."""


def generate() -> tuple[bytes, bytes]:
    """A new pair: the private key (PEM, PKCS8) and the public key (PEM)."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def public_of(private_pem: bytes) -> bytes:
    """The public key (PEM) that belongs to a private one."""
    return (
        _private(private_pem, "the private key")
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )


def signer(private_pem: bytes) -> Callable[[bytes], bytes]:
    """The `sign` function that `contract.seal` takes."""
    return _private(private_pem, "the private key").sign


def verifier(public_pem: bytes) -> Callable[[str, bytes, bytes], bool]:
    """The `verify` function that `contract.open_envelope` takes, knowing this one key."""
    key = _public(public_pem, "the public key")

    def verify(_host: str, signed: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    return verify


def read_signer(path: Path) -> Callable[[bytes], bytes]:
    return _private(path.read_bytes(), str(path)).sign


def read_verifier(path: Path) -> Callable[[str, bytes, bytes], bool]:
    _public(path.read_bytes(), str(path))
    return verifier(path.read_bytes())


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
