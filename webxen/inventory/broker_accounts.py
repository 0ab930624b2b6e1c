"""One broker account a host: made, renewed and taken away over the portal's own connection.

Lives here: everything that speaks ACL to Redis. What an account may do is worker.membership's list. The
host's row is the truth: what could not be done now, `ensure_all` does as soon as the broker is back.
"""

import logging
import secrets
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from webxen.core import after_commit
from webxen.core.errors import InvalidError, NotFoundError, UserError
from webxen.inventory.models import Host
from worker import membership

log = logging.getLogger(__name__)

#: a host's old password still opens the door this long after a new one was given out
BOTH_PASSWORDS = timedelta(hours=24)
#: a fast hash is kept of it, so it must not be one a person would think of
SHORTEST_PASSWORD = 24
TIMEOUT_SECONDS = 2.0


class NoBrokerAddressError(UserError):
    """Nobody has said where hosts find the broker."""

    code = "NO_BROKER_ADDRESS"


def url_for(*, host: str, password: str) -> str:
    """The broker as this host reaches it, with its own account."""
    base = settings.WEBXEN_BROKER_PUBLIC_URL or settings.WEBXEN_REDIS_URL
    parts = urlsplit(base)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise NoBrokerAddressError(
            "Nobody has said where hosts find the broker: set WEBXEN_BROKER_PUBLIC_URL, e.g. "
            "rediss://portal.example.org:6379/0."
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    where = f"{name}:{parts.port}" if parts.port else name
    account = f"{quote(membership.account_name(host))}:{quote(password)}"
    return urlunsplit((parts.scheme, f"{account}@{where}", parts.path or "/0", "", ""))


def give_password(*, host: Host, now: datetime, keeps_old: bool) -> str:
    """A new password for the host; the old one counts for a while longer, or no more."""
    password = secrets.token_urlsafe(32)
    until = (now + BOTH_PASSWORDS).isoformat()
    # after two changes in a row only the last one is worth keeping
    old = [{**known, "until": known["until"] or until} for known in host.broker_passwords][-1:]
    host.broker_passwords = [
        *(old if keeps_old else []),
        {"sha256": membership.password_hash(password), "until": None},
    ]
    host.save(update_fields=["broker_passwords"])
    after_commit.run(lambda: ensure(host=host), about=f"the broker account of {host.name}")
    return password


def set_password(*, name: str, password: str, now: datetime) -> None:
    """A password chosen elsewhere, for a host that is known; any other it had counts no more."""
    if len(password) < SHORTEST_PASSWORD:
        raise InvalidError(f"A broker password has at least {SHORTEST_PASSWORD} characters.")
    membership.account_rules(name)
    host = Host.objects.exclude(state=Host.State.REMOVED).filter(name=name).first()
    if host is None:
        raise NotFoundError
    host.broker_passwords = [{"sha256": membership.password_hash(password), "until": None}]
    host.save(update_fields=["broker_passwords"])
    after_commit.run(lambda: ensure(host=host), about=f"the broker account of {host.name}")


def ensure(*, host: Host) -> bool:
    """Make the broker know the host's account as its row says. False: the broker did not do it."""
    if not host.broker_passwords:
        return True
    hashes = [f"#{known['sha256']}" for known in host.broker_passwords]
    rules = ["on", "resetpass", *hashes, *membership.account_rules(host.name)]
    return _tell(("ACL", "SETUSER", membership.account_name(host.name), *rules), ("ACL", "SAVE"))


def remove(*, name: str) -> bool:
    """Take the account away. Redis ends the connections of a user that is deleted."""
    user = membership.account_name(name)
    return _tell(("CLIENT", "KILL", "USER", user), ("ACL", "DELUSER", user), ("ACL", "SAVE"))


def ensure_all(*, now: datetime) -> None:
    """What the broker has forgotten, never heard of or should know no more. Cheap when all is well."""
    for host in Host.objects.exclude(broker_passwords=[]):
        live = [known for known in host.broker_passwords if not _is_over(known, now)]
        if live != host.broker_passwords:
            Host.objects.filter(id=host.id).update(broker_passwords=live)
            host.broker_passwords = live
            ensure(host=host)
    users = _users()
    if users is None:
        return
    for host in Host.objects.all():
        is_known = membership.account_name(host.name) in users
        if host.state == Host.State.REMOVED and is_known:
            remove(name=host.name)
        elif host.state != Host.State.REMOVED and not is_known:
            ensure(host=host)


def _is_over(known: dict[str, Any], now: datetime) -> bool:
    return known["until"] is not None and datetime.fromisoformat(known["until"]) <= now


def _users() -> set[str] | None:
    try:
        with _connection() as client:
            return {name.decode() if isinstance(name, bytes) else name for name in client.acl_users()}
    except (RedisError, OSError) as error:
        log.warning("the broker's accounts cannot be read: %s", error)
        return None


def _tell(*commands: tuple[str, ...]) -> bool:
    try:
        with _connection() as client:
            for command in commands:
                _execute(client, command)
    except (RedisError, OSError) as error:
        log.warning("a host's broker account waits: %s", error)
        return False
    return True


def _execute(client: "Redis", command: tuple[str, ...]) -> None:
    try:
        client.execute_command(*command)  # type: ignore[no-untyped-call]  # not typed by redis-py
    except RedisError as error:
        # a broker without an access list on disk forgets at its restart; ensure_all tells it again
        if command != ("ACL", "SAVE") or "not configured to use an ACL file" not in str(error):
            raise


def _connection() -> "Redis":
    # protocol 2: the newest Redis client asks for 3, which the oldest servers we support answer otherwise
    return Redis.from_url(
        settings.WEBXEN_REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        protocol=2,
    )
