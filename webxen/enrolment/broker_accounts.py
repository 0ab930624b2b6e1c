"""One Redis account per host: created, updated and removed over the portal's own connection.

Only this module sends ACL commands to Redis. worker.contract.membership lists what an account may do. The
host's row is authoritative: `ensure_all` repeats what failed once the broker is back.
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
from webxen.core.messages import Message
from webxen.inventory.models import Host
from worker import contract
from worker.contract import membership

log = logging.getLogger(__name__)

#: how long a host's old password stays valid after a new one was issued
BOTH_PASSWORDS = timedelta(hours=24)
#: only a fast hash is stored, so a password that a person could guess is not accepted
SHORTEST_PASSWORD = 24
TIMEOUT_SECONDS = 2.0
#: placeholder host name of the pattern accounts, which exist only within one transaction
_PATTERN = "pattern"
_PATTERNS = {False: "webxen.pattern", True: "webxen.pattern.old"}


class NoBrokerAddressError(UserError):
    """The broker's public address is not configured."""

    code = "NO_BROKER_ADDRESS"


def url_for(*, host: str, password: str) -> str:
    """Return the broker's URL for this host, with its account and password. Raises NoBrokerAddressError."""
    base = settings.WEBXEN_BROKER_PUBLIC_URL or settings.WEBXEN_REDIS_URL
    parts = urlsplit(base)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        example = "rediss://portal.example.org:6379/0"
        raise NoBrokerAddressError(Message("BROKER_ADDRESS_MISSING", example=example))
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    where = f"{name}:{parts.port}" if parts.port else name
    account = f"{quote(membership.account_name(host))}:{quote(password)}"
    return urlunsplit((parts.scheme, f"{account}@{where}", parts.path or "/0", "", ""))


def give_password(*, host: Host, now: datetime, keeps_old: bool) -> str:
    """Create a new password for the host; the old one expires after BOTH_PASSWORDS, or at once.

    Return the password, of which only a hash is stored. The broker is updated after the commit.
    """
    password = secrets.token_urlsafe(32)
    until = (now + BOTH_PASSWORDS).isoformat()
    # after two changes in a row only the most recent old password is kept
    old = [{**known, "until": known["until"] or until} for known in host.broker_passwords][-1:]
    host.broker_passwords = [
        *(old if keeps_old else []),
        {"sha256": membership.password_hash(password), "until": None},
    ]
    # not known for the worker that connects with the new password: detected again
    host.has_own_queues = False
    host.save(update_fields=["broker_passwords", "has_own_queues"])
    after_commit.run(lambda: ensure(host=host), about=f"the broker account of {host.name}")
    return password


def set_password(*, name: str, password: str, now: datetime) -> None:
    """Set a given password for a registered host; its other passwords are deleted.

    Raises InvalidError, NotFoundError, or ValueError for an invalid name.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise InvalidError(Message("BROKER_PASSWORD_SHORT", min_length=SHORTEST_PASSWORD))
    membership.account_rules(name)
    host = Host.objects.exclude(state=Host.State.REMOVED).filter(name=name).first()
    if host is None:
        raise NotFoundError
    host.broker_passwords = [{"sha256": membership.password_hash(password), "until": None}]
    # not known for the worker that connects with the new password: detected again
    host.has_own_queues = False
    host.save(update_fields=["broker_passwords", "has_own_queues"])
    after_commit.run(lambda: ensure(host=host), about=f"the broker account of {host.name}")


def note_own_queue(*, name: str) -> None:
    """Record that the host uses its own queues, and remove its access to the shared one."""
    host = Host.objects.filter(name=name, has_own_queues=False).first()
    if host is not None:
        Host.objects.filter(id=host.id).update(has_own_queues=True)
        host.has_own_queues = True
        ensure(host=host)


def ensure(*, host: Host) -> bool:
    """Create or update the host's account on the broker; return False if the broker could not be reached."""
    if not host.broker_passwords:
        return True
    rules = ["on", "resetpass", *_hashes(host), *_rules(host)]
    commands = [("ACL", "SETUSER", membership.account_name(host.name), *rules), ("ACL", "SAVE")]
    if not host.has_own_queues:
        commands.insert(0, _hold_lock(host.name))
    return _tell(*commands)


def remove(*, name: str) -> bool:
    """Delete the host's account, its connections and its queues; return False if the broker cannot be
    reached.

    Redis closes the connections of a deleted user.
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
    """Create, update and remove accounts on the broker until they match the hosts' rows.

    If all accounts match, this sends one query, and one command for each host with an older worker.
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
    """The ACL rules of each account, as a set of words in the form that the broker lists."""

    known: dict[str, frozenset[str]]

    def wanted_of(self, host: Host) -> frozenset[str]:
        """Return the rule words the host's account should have: the pattern with its name and passwords."""
        own = contract.host_in_keys(host.name)
        pattern = self.known[_PATTERNS[not host.has_own_queues]] - {"off"}
        # no command name contains the placeholder
        return frozenset({word.replace(_PATTERN, own) for word in pattern} | {"on", *_hashes(host)})


def _accounts() -> _Accounts | None:
    """Return all accounts of the broker; None if it does not answer.

    Redis versions list the same rules in different forms. Therefore two disabled pattern accounts are
    created, listed with the others and deleted, in one transaction that nobody else can observe.
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
    """Split the rules into words, without the parentheses of selectors and the default flag of new users."""
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
        # a broker without an ACL file forgets accounts at its restart; ensure_all creates them again
        if command != ("ACL", "SAVE") or "not configured to use an ACL file" not in str(error):
            raise


def _connection() -> "Redis":
    # protocol 2: the newest Redis client requests 3, which the oldest supported servers reject
    return Redis.from_url(
        settings.WEBXEN_REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        protocol=2,
    )
