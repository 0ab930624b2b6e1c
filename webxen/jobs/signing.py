"""The portal's key and the hosts' public keys: Ed25519. Envelopes themselves are worker.contract's."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
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
    """A key file is missing or not an Ed25519 key; the text names the file and the cure."""


def make_portal_key(path: Path) -> None:
    """Write a new private key only its owner can read. A key that is there is left alone."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # Whole or not at all, and the first one wins: two processes may start at the same moment.
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(pem)
    try:
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        part.unlink()


def public_pem(path: Path) -> str:
    """The public half of the private key in this file, as the hosts get it."""
    return (
        _load_private(path)
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def signer(path: Path) -> Callable[[bytes], bytes]:
    return _load_private(path).sign


@functools.lru_cache(maxsize=4)
def _load_private(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"the portal's key {path} cannot be used ({error}): manage.py portal_key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"the portal's key {path} is not Ed25519: manage.py portal_key makes one")
    return key


@functools.lru_cache(maxsize=256)
def _load_public(pem: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusable("this is not the PEM of a public key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable("this public key is not Ed25519")
    return key


def is_signed_by(pem: str, signed: bytes, signature: bytes) -> bool:
    try:
        _load_public(pem).verify(signature, signed)
    except (InvalidSignature, KeyUnusable):
        return False
    return True
