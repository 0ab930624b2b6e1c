"""What the portal and a host must agree on for the host to belong: its broker account, its keys' names,
and the words each signs when it joins, changes its key or asks for news.

Lives here: pure functions over text, standard library only. With `contract` and `broker_guard` it is
what both sides import; messages are `contract`'s, and no key, file or socket is touched here.
"""

import base64
import binascii
import hashlib
import re
from urllib.parse import quote

#: a host's name is part of Redis key patterns: no dot, no star
HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
TOKEN_PREFIX = "wxj_"  # noqa: S105 - what a secret begins with, not a secret
#: the portal hears a request signed by a host this long after, and before, the time it names
SIGNED_FOR_SECONDS = 300

#: an Ed25519 SubjectPublicKeyInfo is this, then the 32 bytes of the key (RFC 8410)
_ED25519_DER = bytes.fromhex("302a300506032b6570032100")
_PEM_BLOCK = re.compile(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)-----END PUBLIC KEY-----")

#: what a host's Celery consumer and consoled use; no KEYS, FLUSHALL, CONFIG, SHUTDOWN …, and no script: one
#: that does not end makes the broker answer everybody with an error
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
    """The broker user of a host; the prefix keeps it apart from `default` and the portal's own."""
    return f"dom0.{host}"


def lock_of_old_workers(host: str) -> str:
    """The key by which an older worker locks what it took and has not acknowledged.

    It unlocks with a script, which no account may run any more, and would end at the refusal. While the
    portal holds the lock, such a worker leaves it alone; the portal sends again whatever was lost.
    """
    return f"dom0.{host}.unacked_mutex"


def account_rules(host: str, *, is_old_worker: bool = False) -> list[str]:
    """What this host's account may do, as arguments of ACL SETUSER: its own keys, and put reports.

    Reports may be put and not taken, not even its own: nobody may remove what a host has said. Older workers
    put them on the one queue for all hosts.
    """
    if not HOST_NAME.fullmatch(host):
        raise ValueError(f"{host!r} cannot be a host's name")
    # kombu keeps a list a priority: the queue's name, two control characters and a digit
    own = [f"~dom0.{host}", f"~dom0.{host}\x06*", f"~dom0.{host}.*", f"~_kombu.binding*.dom0.{host}"]
    names = [f"reports.{host}", f"reports.{host}.seen"]
    keys = [f"%W~{key}" for name in names for key in (name, f"{name}\x06*", f"_kombu.binding*.{name}")]
    selectors = [f"({' '.join(keys)} -@all +lpush +ltrim +expire +llen +sadd)"]
    if is_old_worker:
        selectors.append("(%W~reports %W~reports\x06* %W~_kombu.binding*.reports -@all +lpush +llen +sadd)")
    rules = ["resetchannels", "resetkeys", "clearselectors", "-@all"]
    return [*rules, *own, *HOST_COMMANDS.split(), *selectors]


def password_hash(password: str) -> str:
    """As Redis keeps it; a password made of 256 random bits needs no slow hash."""
    return hashlib.sha256(password.encode()).hexdigest()


# --- keys ----------------------------------------------------------------------------------------


def split_pems(text: str) -> list[str]:
    """Every public key in the text, each as one PEM block of the same shape."""
    return [_pem(block) for block in _PEM_BLOCK.findall(text)]


def _pem(body: str) -> str:
    return f"-----BEGIN PUBLIC KEY-----\n{''.join(body.split())}\n-----END PUBLIC KEY-----\n"


def fingerprint(pem: str) -> str:
    """SHA256:…, as `ssh-keygen -l` prints it for the same key."""
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
# Each begins with its own purpose, so that no signature means anything elsewhere; an envelope's
# signed part begins with a brace.


def words_to_join(*, token: str, public_key: str) -> bytes:
    """Signed by the key that is shown: whoever joins holds its private half."""
    return _words("join", password_hash(token), fingerprint(public_key))


def words_to_rotate(*, host: str, public_key: str, at: int) -> bytes:
    """Signed by the host's key of today and by the next one."""
    return _words("rotate", host, fingerprint(public_key), str(at))


def words_to_refresh(*, host: str, at: int, wants_password: bool) -> bytes:
    return _words("refresh", host, str(at), "password" if wants_password else "keys")


def _words(*words: str) -> bytes:
    return "\n".join(("webxen-membership-v1", *words)).encode()


def with_ca(url: str, ca_file: str) -> str:
    """The same address with the certificate it must be signed by; every Redis client here reads it there."""
    if not ca_file or not url.startswith("rediss://") or "ssl_ca_certs=" in url:
        return url
    mark = "&" if "?" in url else "?"
    return f"{url}{mark}ssl_ca_certs={quote(ca_file, safe='/')}&ssl_cert_reqs=required"
