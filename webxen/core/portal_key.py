"""The portal's Ed25519 signing keys: the current one and, during a rotation, the previous one.

Envelopes are defined in worker.contract; hosts' public keys are verified in core.keys.
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
    """The previous rotation is not finished: some host still needs the previous key."""


def make_portal_key(path: Path) -> None:
    """Create a private key readable only by its owner. An existing key is not changed."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written completely, then linked, which fails if the file exists: two processes may start together.
    part = _write_new_key(path)
    try:
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        part.unlink()


def _write_new_key(path: Path) -> Path:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # a new file of mode 0600 with an unpredictable name: root may write into another account's folder
    descriptor, part = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        give_to_owner_of_folder(file.fileno(), path.parent)
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return Path(part)


def give_to_owner_of_folder(descriptor: int, folder: Path) -> None:
    """When running as root, give the file to the owner of the folder, who otherwise could not read it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def why_unusable(path: Path) -> str:
    """Return why the key in this file cannot sign orders, with the fix; empty if it can."""
    try:
        _load_private(path)
    except KeyUnusable as error:
        return str(error)
    return ""


def is_usable() -> bool:
    """Whether orders can be signed now."""
    return not why_unusable(settings.WEBXEN_PORTAL_KEY_FILE)


def old_key(path: Path) -> Path:
    """Return the path of the previous key, which exists while some host still needs it."""
    return path.with_name(f"{path.name}.old")


def rotate(path: Path) -> None:
    """Replace the key by a new one; the previous one is kept until `forget_old`.

    Raises RotationUnderWay if a previous key still exists, KeyUnusable if the current key cannot be read.
    """
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
    """Delete the previous key; return False if there was none."""
    try:
        old_key(path).unlink()
    except FileNotFoundError:
        return False
    return True


def public_pem(path: Path) -> str:
    """Return the public key of the private key in this file as PEM. Raises KeyUnusable."""
    return (
        _load_private(path)
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def public_pems(path: Path) -> tuple[str, ...]:
    """Return the keys hosts should trust: the current one and, during a rotation, the previous one."""
    return tuple(public_pem(one) for one in _ring(path))


def _ring(path: Path) -> tuple[Path, ...]:
    old = old_key(path)
    return (path, old) if old.exists() else (path,)


def signer(path: Path) -> Callable[[bytes], bytes]:
    """Return the sign function of the key in this file. Raises KeyUnusable."""
    return _load_private(path).sign


def signer_for(path: Path, *, trusted: Collection[str]) -> Callable[[bytes], bytes]:
    """Return the sign function of the newest key whose fingerprint is in `trusted`. Raises KeyUnusable.

    A host that has not reported any key knows only the one it was enrolled with, which is the older one.
    """
    ring = _ring(path)
    known = [one for one in ring if membership.fingerprint(public_pem(one)) in trusted]
    return signer(known[0] if known else ring[-1])


def _load_private(path: Path) -> Ed25519PrivateKey:
    try:
        seen = path.stat()
    except OSError as error:
        raise KeyUnusable(f"the portal's key {path} cannot be used ({error}): manage.py portal_key") from None
    # a rotation replaces the file while this process runs
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
