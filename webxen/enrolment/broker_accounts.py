"""One broker account a host: made, renewed and taken away over the portal's own connection.

Lives here: everything that speaks ACL to Redis. What an account may do is the list in
worker.contract.membership. The host's row is the truth: what could not be done now, `ensure_all` does as soon
as the broker is back.
"""

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from webxen.core import after_commit
from webxen.core.errors import InvalidError, NotFoundError, UserError
from webxen.inventory.models import Host
from worker import contract
from worker.contract import membership

log = logging.getLogger(__name__)

#: a host's old password still opens the door this long after a new one was given out
BOTH_PASSWORDS = timedelta(hours=24)
#: a fast hash is kept of it, so it must not be one a person would think of
SHORTEST_PASSWORD = 24
TIMEOUT_SECONDS = 2.0
#: a host of this name would have these rules; the accounts are gone before anybody can look
_PATTERN = "pattern"
_PATTERNS = {False: "webxen.pattern", True: "webxen.pattern.old"}


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
    # whatever worker comes in with it, it can report: this is found out anew
    host.has_own_queues = False
    host.save(update_fields=["broker_passwords", "has_own_queues"])
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
    # whatever worker comes in with it, it can report: this is found out anew
    host.has_own_queues = False
    host.save(update_fields=["broker_passwords", "has_own_queues"])
    after_commit.run(lambda: ensure(host=host), about=f"the broker account of {host.name}")


def note_own_queue(*, name: str) -> None:
    """A message lay on the host's own queue: its account need not reach the shared one any more."""
    host = Host.objects.filter(name=name, has_own_queues=False).first()
    if host is not None:
        Host.objects.filter(id=host.id).update(has_own_queues=True)
        host.has_own_queues = True
        ensure(host=host)


def ensure(*, host: Host) -> bool:
    """Make the broker know the host's account as its row says. False: the broker did not do it."""
    if not host.broker_passwords:
        return True
    rules = ["on", "resetpass", *_hashes(host), *_rules(host)]
    commands = [("ACL", "SETUSER", membership.account_name(host.name), *rules), ("ACL", "SAVE")]
    if not host.has_own_queues:
        commands.insert(0, _hold_lock(host.name))
    return _tell(*commands)


def remove(*, name: str) -> bool:
    """Take the account away, and what waits for the host and from it.

    Redis ends the connections of a user that is deleted.
    """
    user = membership.account_name(name)
    queues = [contract.report_queue_for(name), contract.observation_queue_for(name)]
    return _tell(
        ("CLIENT", "KILL", "USER", user),
        ("ACL", "DELUSER", user),
        ("ACL", "SAVE"),
        ("UNLINK", contract.queue_for(name), membership.lock_of_old_workers(name), *queues),
    )


def ensure_all(*, now: datetime) -> None:
    """What the broker has forgotten, never heard of, has otherwise or should know no more.

    Cheap when all is well: one question, and one word for each host with an older worker.
    """
    for host in Host.objects.exclude(broker_passwords=[]):
        live = [known for known in host.broker_passwords if not _is_over(known, now)]
        if live != host.broker_passwords:
            Host.objects.filter(id=host.id).update(broker_passwords=live)
            host.broker_passwords = live
    accounts = _accounts()
    if accounts is None:
        return
    old = []
    for host in Host.objects.all():
        known = accounts.known.get(membership.account_name(host.name))
        if host.state == Host.State.REMOVED:
            if known is not None:
                remove(name=host.name)
        elif host.broker_passwords and known != accounts.wanted_of(host):
            ensure(host=host)
        elif host.broker_passwords and not host.has_own_queues:
            old.append(_hold_lock(host.name))
    if old:
        _tell(*old)


def _hold_lock(name: str) -> tuple[str, ...]:
    return ("SET", membership.lock_of_old_workers(name), "held by the portal")


def _hashes(host: Host) -> list[str]:
    return [f"#{known['sha256']}" for known in host.broker_passwords]


def _rules(host: Host) -> list[str]:
    return membership.account_rules(host.name, is_old_worker=not host.has_own_queues)


def _is_over(known: dict[str, Any], now: datetime) -> bool:
    return known["until"] is not None and datetime.fromisoformat(known["until"]) <= now


@dataclass(frozen=True)
class _Accounts:
    """The words of each account's rules, in the broker's own form."""

    known: dict[str, frozenset[str]]

    def wanted_of(self, host: Host) -> frozenset[str]:
        """What should be known of this host's account: the pattern, with its name and its passwords."""
        pattern = self.known[_PATTERNS[not host.has_own_queues]] - {"off"}
        # no command's name holds the pattern's
        return frozenset({word.replace(_PATTERN, host.name) for word in pattern} | {"on", *_hashes(host)})


def _accounts() -> _Accounts | None:
    """Every account of the broker's; None: it does not answer.

    Each version of Redis lists the same rules in another form. So the broker is told the rules of two
    accounts that nobody can use, and lists them with the others; nobody else sees them.
    """
    try:
        with _connection() as client, client.pipeline(transaction=True) as pipe:
            for is_old, name in _PATTERNS.items():
                rules = membership.account_rules(_PATTERN, is_old_worker=is_old)
                pipe.execute_command("ACL", "SETUSER", name, "off", "resetpass", *rules)
            pipe.execute_command("ACL", "LIST")
            pipe.execute_command("ACL", "DELUSER", *_PATTERNS.values())
            lines = [line.decode() if isinstance(line, bytes) else line for line in pipe.execute()[-2]]
    except (RedisError, OSError) as error:
        log.warning("the broker's accounts cannot be read: %s", error)
        return None
    parts = [line.split() for line in lines]
    return _Accounts({name: _words(rules) for _, name, *rules in parts})


def _words(parts: list[str]) -> frozenset[str]:
    """A selector stands in parentheses; a new user may have a flag that concerns nothing here."""
    return frozenset(" ".join(parts).replace("(", " ").replace(")", " ").split()) - {"sanitize-payload"}


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
