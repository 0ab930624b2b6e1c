"""Verify Ed25519 signatures with public keys in PEM format.

Private keys are read in portal_key.
"""

import functools

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key


class KeyUnusable(Exception):
    """A key file is missing or is not an Ed25519 key; the message names the file and the fix."""


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
    """Whether the signature is valid for this public key; False also for an unusable key."""
    try:
        _load_public(pem).verify(signature, signed)
    except (InvalidSignature, KeyUnusable):
        return False
    return True
