"""Validate SSH keys, passwords and user data of a new machine, and store them in a normalized form."""

import base64
import binascii
import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from passlib.hash import sha512_crypt

from webxen.core.messages import Message

KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
MAX_KEYS = 20
MAX_KEY_TEXT = 8192
COMMENT = re.compile(r"[A-Za-z0-9@._+-]{1,100}", re.ASCII)
PASSWORD_LENGTH = (8, 128)
#: crypt's default: an emulated guest must verify the hash within the time of a login prompt, and the hash is
#: deleted here as soon as the machine is built
ROUNDS = 5000
MAX_USER_DATA_BYTES = 16 * 1024


class Unusable(Exception):
    """The input breaks a rule; the text is the message for the user."""


def read_ssh_keys(untrusted: object) -> tuple[str, ...]:
    """Return a list of OpenSSH public keys, each rebuilt from its parts, without duplicates. Raises
    Unusable.
    """
    if untrusted is None:
        return ()
    if not isinstance(untrusted, list | tuple):
        raise Unusable(Message("SSH_KEYS_NOT_LIST"))
    if len(untrusted) > MAX_KEYS:
        raise Unusable(Message("SSH_KEYS_TOO_MANY", max_count=MAX_KEYS))
    return tuple(dict.fromkeys(read_ssh_key(item) for item in untrusted))


def read_ssh_key(untrusted: object) -> str:
    """Return one OpenSSH public key, rebuilt from its parts. Raises Unusable."""
    if not isinstance(untrusted, str) or len(untrusted) > MAX_KEY_TEXT:
        raise Unusable(Message("SSH_KEY_TOO_LONG", max_length=MAX_KEY_TEXT))
    if "PRIVATE KEY" in untrusted:
        raise Unusable(Message("SSH_KEY_PRIVATE"))
    if "BEGIN SSH2 PUBLIC KEY" in untrusted or "PuTTY-User-Key-File" in untrusted:
        raise Unusable(Message("SSH_KEY_PUTTY"))
    # editors and web pages add byte order marks and other blanks, which cannot be part of a key
    line = untrusted.replace("\ufeff", "").strip()
    if len(line.splitlines()) > 1:
        raise Unusable(Message("SSH_KEY_BROKEN_LINES"))
    line = " ".join(line.split())
    if odd := next((sign for sign in line if not sign.isprintable()), None):
        raise Unusable(Message("SSH_KEY_NOT_TEXT", character=f"{ord(odd):04X}"))
    kind, _, rest = line.partition(" ")
    if kind not in KEY_TYPES:
        raise Unusable(Message("SSH_KEY_TYPE_UNKNOWN", types=KEY_TYPES))
    text, _, comment = rest.partition(" ")
    blob = _read_blob(kind, text)
    parts = [kind, base64.b64encode(blob).decode()]
    comment = comment.strip()
    if COMMENT.fullmatch(comment):
        parts.append(comment)
    return " ".join(parts)


def _read_blob(kind: str, text: str) -> bytes:
    wrong = Unusable(Message("SSH_KEY_DAMAGED", type=kind))
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise wrong from None
    length = int.from_bytes(blob[:4], "big")
    if blob[4 : 4 + length] != kind.encode():
        raise wrong
    if not kind.startswith("sk-"):
        try:
            load_ssh_public_key(f"{kind} {text}".encode())
        # NotImplementedError: a compressed elliptic-curve point, which the library cannot read
        except (ValueError, UnsupportedAlgorithm, NotImplementedError):
            raise wrong from None
    return blob


def read_password(untrusted: object) -> str:
    """Return the password, or "" if none was given. Raises Unusable."""
    if untrusted is None or untrusted == "":
        return ""
    shortest, longest = PASSWORD_LENGTH
    if not isinstance(untrusted, str) or not shortest <= len(untrusted) <= longest:
        raise Unusable(Message("PASSWORD_LENGTH", min_length=shortest, max_length=longest))
    if not untrusted.isprintable():
        raise Unusable(Message("PASSWORD_CHARACTERS"))
    return untrusted


def hash_password(password: str) -> str:
    """Return the crypt(3) hash for a guest's /etc/shadow."""
    return str(sha512_crypt.using(rounds=ROUNDS).hash(password))


def read_user_data(untrusted: object) -> str:
    """Return the user data, or "" if none was given. Raises Unusable."""
    if untrusted is None:
        return ""
    if not isinstance(untrusted, str) or "\0" in untrusted:
        raise Unusable(Message("USER_DATA_NOT_TEXT"))
    try:
        size = len(untrusted.encode())
    except UnicodeEncodeError:
        raise Unusable(Message("USER_DATA_NOT_TEXT")) from None
    if size > MAX_USER_DATA_BYTES:
        raise Unusable(Message("USER_DATA_TOO_LONG", bytes=size, limit=MAX_USER_DATA_BYTES))
    return untrusted
