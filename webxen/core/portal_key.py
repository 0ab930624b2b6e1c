"""The portal's keys: Ed25519, one that signs and, while the hosts learn of it, the one before.

Envelopes themselves are worker.contract's; the hosts' public keys are core.keys'.
"""

import functools
import os
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings

from webxen.core.keys import KeyUnusable, is_signed_by
from worker.contract import membership

__all__ = ["KeyUnusable", "is_signed_by", "make_portal_key", "public_pem", "signer", "signer_for"]


class RotationUnderWay(Exception):
    """The key before this one is still needed by some host."""


def make_portal_key(path: Path) -> None:
    """Write a new private key only its owner can read. A key that is there is left alone."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all, and the first one wins: two processes may start at the same moment.
    part = _write_new_key(path)
    try:
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        part.unlink()


def _write_new_key(path: Path) -> Path:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # a new file of mode 0600 under a name nobody can prepare: root may write in another account's folder
    descriptor, part = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        give_to_owner_of_folder(file.fileno(), path.parent)
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return Path(part)


def give_to_owner_of_folder(descriptor: int, folder: Path) -> None:
    """What root writes belongs to the account whose folder it lies in, else that account cannot read it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def why_unusable(path: Path) -> str:
    """Why orders cannot be signed with the key in this file, with the cure; empty: they can."""
    try:
        _load_private(path)
    except KeyUnusable as error:
        return str(error)
    return ""


def is_usable() -> bool:
    """Can orders be signed now?"""
    return not why_unusable(settings.WEBXEN_PORTAL_KEY_FILE)


def old_key(path: Path) -> Path:
    """Where the key before this one is kept while a host still needs it."""
    return path.with_name(f"{path.name}.old")


def rotate(path: Path) -> None:
    """Put a new key in place; the one before stays beside it until `forget_old`."""
    _load_private(path)
    part = _write_new_key(path)
    try:
        os.link(path, old_key(path))
    except FileExistsError:
        part.unlink()
        raise RotationUnderWay(
            f"the last rotation is not over: a host has not said yet that it knows the new key "
            f"({old_key(path)} is still needed)"
        ) from None
    part.replace(path)


def forget_old(path: Path) -> bool:
    """Put the key before this one away for good; False: there was none."""
    try:
        old_key(path).unlink()
    except FileNotFoundError:
        return False
    return True


def public_pem(path: Path) -> str:
    """The public half of the private key in this file, as the hosts get it."""
    return (
        _load_private(path)
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def public_pems(path: Path) -> tuple[str, ...]:
    """What a host shall trust now: the key that signs and, during a rotation, the one before."""
    return tuple(public_pem(one) for one in _ring(path))


def _ring(path: Path) -> tuple[Path, ...]:
    old = old_key(path)
    return (path, old) if old.exists() else (path,)


def signer(path: Path) -> Callable[[bytes], bytes]:
    return _load_private(path).sign


def signer_for(path: Path, *, trusted: Collection[str]) -> Callable[[bytes], bytes]:
    """The newest key this host has said it trusts (by fingerprint).

    A host that has not said anything knows the key it was given, which is the older one.
    """
    ring = _ring(path)
    known = [one for one in ring if membership.fingerprint(public_pem(one)) in trusted]
    return signer(known[0] if known else ring[-1])


def _load_private(path: Path) -> Ed25519PrivateKey:
    try:
        seen = path.stat()
    except OSError as error:
        raise KeyUnusable(f"the portal's key {path} cannot be used ({error}): manage.py portal_key") from None
    # a rotation puts another file in its place while this process runs
    return _load_private_once(path, seen.st_ino, seen.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _load_private_once(path: Path, _inode: int, _changed_ns: int) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"the portal's key {path} cannot be used ({error}): manage.py portal_key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"the portal's key {path} is not Ed25519: manage.py portal_key makes one")
    return key
