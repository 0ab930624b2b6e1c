"""What the portal and a host must agree on: the host's broker account, its keys' fingerprints, and the texts
that are signed to join, to change a key and to refresh.

Pure functions over text, standard library only. No key, file or socket is used here.
"""

import base64
import binascii
import hashlib
import re
from urllib.parse import quote

from worker.contract.names import host_in_keys, read_host_name

TOKEN_PREFIX = "wxj_"  # noqa: S105 - what a secret begins with, not a secret
#: seconds by which the time in a host's signed request may differ from the portal's clock
SIGNED_FOR_SECONDS = 300

#: an Ed25519 SubjectPublicKeyInfo is this, followed by the 32 bytes of the key (RFC 8410)
_ED25519_DER = bytes.fromhex("302a300506032b6570032100")
_PEM_BLOCK = re.compile(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)-----END PUBLIC KEY-----")

#: The commands that a host's Celery consumer and consoled use. No KEYS, FLUSHALL, CONFIG, SHUTDOWN, and no
#: scripts: one that does not end makes the broker answer every client with an error.
HOST_COMMANDS = (
    "+ping +hello +auth +client|setname +select +info +multi +exec +discard "
    "+watch +unwatch +brpop +rpop +lpush +rpush +llen +lrange +sadd +srem +smembers +hset +hget "
    "+hdel +hgetall +hmget +hmset +zadd +zrem +zrevrangebyscore +zrange +del +expire +get +set "
    "+time "
    "+xadd +xread +xrange +xtrim +xdel +xlen +xrevrange +publish +subscribe +unsubscribe"
)


class NoKey(Exception):
    """The text holds no Ed25519 public key."""


# --- the broker account --------------------------------------------------------------------------


def account_name(host: str) -> str:
    """The broker user of a host. The prefix keeps it apart from `default` and the portal's own user."""
    return f"dom0.{host_in_keys(host)}"


def lock_of_old_workers(host: str) -> str:
    """The key with which an older worker locks what it took and has not acknowledged.

    It unlocks with a script, which no account may run any more, and the refusal would end it. While the
    portal holds the lock, such a worker does not try; the portal sends again what was lost.
    """
    return f"{account_name(host)}.unacked_mutex"


def account_rules(host: str, *, is_old_worker: bool = False) -> list[str]:
    """The rules of a host's broker account, as arguments of ACL SETUSER. Raises ValueError for a bad name.

    It may use its own keys, and put reports but not take them, so that no reports can be removed. Older
    workers put them on the one queue for all hosts. Raises ValueError where no host can have this name.
    """
    host = host_in_keys(read_host_name(host))
    # kombu uses one list per priority: the queue's name, two control characters and a digit
    own = [f"~dom0.{host}", f"~dom0.{host}\x06*", f"~dom0.{host}.*", f"~_kombu.binding*.dom0.{host}"]
    names = [f"reports.{host}", f"reports.{host}.seen"]
    keys = [f"%W~{key}" for name in names for key in (name, f"{name}\x06*", f"_kombu.binding*.{name}")]
    selectors = [f"({' '.join(keys)} -@all +lpush +ltrim +expire +llen +sadd)"]
    if is_old_worker:
        selectors.append("(%W~reports %W~reports\x06* %W~_kombu.binding*.reports -@all +lpush +llen +sadd)")
    rules = ["resetchannels", "resetkeys", "clearselectors", "-@all"]
    return [*rules, *own, *HOST_COMMANDS.split(), *selectors]


def password_hash(password: str) -> str:
    """The password's hash as Redis stores it. A password of 256 random bits needs no slow hash."""
    return hashlib.sha256(password.encode()).hexdigest()


# --- keys ----------------------------------------------------------------------------------------


def split_pems(text: str) -> list[str]:
    """Every public key in the text, each as a normalized PEM block."""
    return [_pem(block) for block in _PEM_BLOCK.findall(text)]


def _pem(body: str) -> str:
    return f"-----BEGIN PUBLIC KEY-----\n{''.join(body.split())}\n-----END PUBLIC KEY-----\n"


def fingerprint(pem: str) -> str:
    """The fingerprint "SHA256:…", as `ssh-keygen -l` prints it for the same key. Raises NoKey."""
    found = _PEM_BLOCK.search(pem)
    try:
        der = base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except binascii.Error:
        der = b""
    if len(der) != len(_ED25519_DER) + 32 or not der.startswith(_ED25519_DER):
        raise NoKey("this is not the PEM of an Ed25519 public key")
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (b"ssh-ed25519", der[-32:]))
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


# --- what is signed ------------------------------------------------------------------------------
# Each begins with its own purpose, so that a signature is valid for nothing else. The signed part of an
# envelope begins with a brace.


def words_to_join(*, token: str, public_key: str) -> bytes:
    """The bytes that a joining host signs with its new key, to prove that it holds the private half."""
    return _words("join", password_hash(token), fingerprint(public_key))


def words_to_rotate(*, host: str, public_key: str, at: int) -> bytes:
    """The bytes that are signed with the host's current key and with its next one."""
    return _words("rotate", host, fingerprint(public_key), str(at))


def words_to_refresh(*, host: str, at: int, wants_password: bool) -> bytes:
    """The bytes that a host signs to fetch the portal's keys or a new broker password.

    `at` is Unix time in seconds.
    """
    return _words("refresh", host, str(at), "password" if wants_password else "keys")


def _words(*words: str) -> bytes:
    return "\n".join(("webxen-membership-v1", *words)).encode()


def with_ca(url: str, ca_file: str) -> str:
    """The URL with the CA certificate that every Redis client reads from it."""
    if not ca_file or not url.startswith("rediss://") or "ssl_ca_certs=" in url:
        return url
    mark = "&" if "?" in url else "?"
    return f"{url}{mark}ssl_ca_certs={quote(ca_file, safe='/')}&ssl_cert_reqs=required"
