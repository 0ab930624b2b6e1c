"""Enrolment of hosts: tokens, keys, acceptance by staff, removal, and changes of a host's key.

This module decides which host keys are trusted. The portal's own keys are in core.portal_key, broker accounts
in broker_accounts. Every refusal has the same message, whatever its reason.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from webxen.accounts.models import User
from webxen.core import after_commit, audit, events
from webxen.core.errors import InvalidError, NotFoundError, UserError
from webxen.core.keys import is_signed_by
from webxen.core.messages import Message
from webxen.enrolment import broker_accounts
from webxen.inventory.models import Host, JoinToken
from worker import contract
from worker.contract import membership

log = logging.getLogger(__name__)

TOKEN_LIVES = timedelta(hours=1)
#: a next key with which no envelope was signed is dropped after this time
NEXT_KEY_LIVES = timedelta(hours=24)
#: envelopes signed with the previous key just before the change may still arrive
LAST_KEY_LIVES = timedelta(seconds=60)


class JoinRefusedError(UserError):
    """The token or the signature is not valid. The reason is logged but not returned."""

    code = "JOIN_REFUSED"
    status = 403

    def __init__(self) -> None:
        super().__init__(Message("JOIN_REFUSED"))


class HostKnownError(UserError):
    code = "HOST_KNOWN"


class HostStateError(UserError):
    code = "HOST_STATE"


@dataclass(frozen=True)
class Joined:
    """Result of an enrolment: the host, and its URL of the broker."""

    host: Host
    broker_url: str


def believed_keys(*, name: str, now: datetime) -> list[str]:
    """Return the public keys (PEM) that verify this host's messages; empty for an unknown or removed host."""
    host = Host.objects.filter(name=name).exclude(state=Host.State.REMOVED).first()
    if host is None:
        return []
    has_other = host.other_key and host.other_key_until is not None and host.other_key_until > now
    return [host.public_key, host.other_key] if has_other else [host.public_key]


# --- joining -----------------------------------------------------------------------------------


def make_token(*, staff: User, name: str, is_rejoin: bool, now: datetime) -> tuple[JoinToken, str]:
    """Create an enrolment token; return it with its secret, which is not stored.

    Raises NotFoundError, InvalidError, or HostKnownError if the host exists and `is_rejoin` is false.
    """
    if not staff.is_staff:
        raise NotFoundError
    try:
        name = contract.read_host_name(name)
    except ValueError:
        rule = Message("HOST_NAME_RULE")
        raise InvalidError(Message("HOST_NAME_INVALID"), fields={"name": [rule]}) from None
    is_known = Host.objects.filter(name=name).exclude(state=Host.State.REMOVED).exists()
    if is_known and not is_rejoin:
        why = Message("HOST_KNOWN", name=name)
        raise HostKnownError(why, fields={"is_rejoin": [why]})
    secret = membership.TOKEN_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        token = JoinToken.objects.create(
            name=name,
            secret_hash=membership.password_hash(secret),
            is_rejoin=is_rejoin,
            made_by=staff,
            created_at=now,
            expires_at=now + TOKEN_LIVES,
        )
        _note(staff, "MAKE_JOIN_TOKEN", token.id, name, "to join again" if is_rejoin else "", now)
    return token, secret


def join(*, untrusted_token: str, untrusted_key: str, untrusted_proof: bytes, now: datetime) -> Joined:
    """Enrol a host that holds an unused token and proves to have the private key.

    The host is NEW until staff accepts it. Raises InvalidError, JoinRefusedError, NoBrokerAddressError.
    """
    public_key = _read_key(untrusted_key)
    words = membership.words_to_join(token=untrusted_token, public_key=public_key)
    if not is_signed_by(public_key, words, untrusted_proof):
        log.warning("a host is not let in: it does not hold the key it shows")
        raise JoinRefusedError
    # checked before the token is used up, so that the host can try again after a wrong setting is fixed
    broker_accounts.url_for(host="any", password="")
    with transaction.atomic():
        token = _use_token(untrusted_token, now)
        host = _take_in(token, public_key, now)
        password = broker_accounts.give_password(host=host, now=now, keeps_old=False)
    events.publish(kind="host", id=str(host.id))
    return Joined(host, broker_accounts.url_for(host=host.name, password=password))


def _read_key(untrusted: str) -> str:
    pems = membership.split_pems(untrusted)
    try:
        membership.fingerprint(pems[0] if len(pems) == 1 else "")
    except membership.NoKey:
        raise InvalidError(
            Message("KEY_NOT_ED25519"), fields={"public_key": [Message("KEY_ONE_PEM_BLOCK")]}
        ) from None
    return pems[0]


def void_unused_tokens(*, now: datetime) -> int:
    """Expire all unused enrolment tokens; return their number."""
    return JoinToken.objects.filter(used_at=None, expires_at__gt=now).update(expires_at=now)


def _use_token(untrusted: str, now: datetime) -> JoinToken:
    secret_hash = membership.password_hash(untrusted)
    # the UPDATE is the claim: of two concurrent requests only one succeeds
    unused = JoinToken.objects.filter(secret_hash=secret_hash, used_at=None, expires_at__gt=now)
    if not unused.update(used_at=now):
        log.warning("a host is not let in: its token is unknown, used or too old")
        raise JoinRefusedError
    return JoinToken.objects.get(secret_hash=secret_hash)


def _take_in(token: JoinToken, public_key: str, now: datetime) -> Host:
    host = Host.objects.select_for_update().filter(name=token.name).first()
    if host is not None and host.state != Host.State.REMOVED and not token.is_rejoin:
        log.warning("a host is not let in: %s has joined since the token was made", token.name)
        raise JoinRefusedError
    host = host or Host(name=token.name, created_at=now)
    host.state = Host.State.NEW
    host.public_key, host.other_key, host.other_key_until = public_key, "", None
    host.portal_keys = []
    # observations signed with the previous key are no longer trusted, so the serial starts again
    host.observation_serial = 0
    host.save()
    _note(None, "JOIN_HOST", host.id, host.name, membership.fingerprint(public_key), now)
    return host


# --- staff's decisions ---------------------------------------------------------------------------


def accept(*, staff: User, host_id: UUID, fingerprint: str, now: datetime) -> Host:
    """Accept a host with the fingerprint that staff compared; its reports are trusted from now on.

    Raises NotFoundError, or HostStateError if the host is not NEW or its key has changed.
    """
    host = _visible(staff, host_id)
    if host.state != Host.State.NEW:
        raise HostStateError(Message("HOST_NOT_WAITING", name=host.name))
    if membership.fingerprint(host.public_key) != fingerprint:
        raise HostStateError(Message("HOST_KEY_CHANGED", name=host.name))
    same = Host.objects.filter(id=host.id, state=Host.State.NEW, public_key=host.public_key)
    with transaction.atomic():
        if not same.update(state=Host.State.ACTIVE):
            raise HostStateError(Message("HOST_CHANGED", name=host.name))
        _note(staff, "ACCEPT_HOST", host.id, host.name, fingerprint, now)
    return _told(host)


def reject(*, staff: User, host_id: UUID, now: datetime) -> Host:
    """Reject a host that waits for acceptance. Raises NotFoundError, HostStateError."""
    return _remove(staff, host_id, (Host.State.NEW,), "REJECT_HOST", now)


def remove(*, staff: User, host_id: UUID, now: datetime) -> Host:
    """Remove a host permanently. The caller has checked that it has no machines (enrolment.removal).

    Raises NotFoundError, HostStateError.
    """
    return _remove(
        staff, host_id, (Host.State.NEW, Host.State.ACTIVE, Host.State.DRAINING), "REMOVE_HOST", now
    )


def _remove(staff: User, host_id: UUID, sources: tuple[str, ...], action: str, now: datetime) -> Host:
    host = _visible(staff, host_id)
    with transaction.atomic():
        if not Host.objects.filter(id=host.id, state__in=sources).update(
            state=Host.State.REMOVED, broker_passwords=[], other_key="", other_key_until=None
        ):
            raise HostStateError(Message("HOST_STATE_WRONG", name=host.name))
        _note(staff, action, host.id, host.name, "", now)
        after_commit.run(
            lambda: broker_accounts.remove(name=host.name), about=f"the broker account of {host.name}"
        )
    return _told(host)


def _visible(staff: User, host_id: UUID) -> Host:
    host = Host.objects.exclude(state=Host.State.REMOVED).filter(id=host_id).first()
    if host is None or not staff.is_staff:
        raise NotFoundError
    return host


def _told(host: Host) -> Host:
    host.refresh_from_db()
    events.publish(kind="host", id=str(host.id))
    return host


def _note(actor: User | None, action: str, id: UUID, name: str, detail: str, now: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_kind="host",
        target_id=str(id),
        target_name=name,
        detail=detail,
        now=now,
    )


# --- a host's own requests -----------------------------------------------------------------------


def rotate_key(
    *,
    name: str,
    untrusted_key: str,
    at: int,
    untrusted_signature: bytes,
    untrusted_proof: bytes,
    now: datetime,
) -> Host:
    """Trust a host's next key in addition to its present one. Idempotent.

    Raises InvalidError, or JoinRefusedError if a signature is not valid.
    """
    public_key = _read_key(untrusted_key)
    words = membership.words_to_rotate(host=name, public_key=public_key, at=at)
    host = _signed(name, at, now, lambda key: is_signed_by(key, words, untrusted_signature))
    if not is_signed_by(public_key, words, untrusted_proof):
        raise JoinRefusedError
    if host.public_key == public_key:
        return host
    with transaction.atomic():
        Host.objects.filter(id=host.id).update(
            other_key=public_key, other_key_until=now + NEXT_KEY_LIVES, other_key_is_next=True
        )
        _note(None, "ROTATE_HOST_KEY", host.id, name, membership.fingerprint(public_key), now)
    return host


def refresh(
    *, name: str, at: int, wants_password: bool, untrusted_signature: bytes, now: datetime
) -> tuple[Host, str]:
    """Answer a host's request for the portal's keys and, if requested, a new broker password.

    Return the host and its broker URL, empty without a new password. Raises JoinRefusedError,
    NoBrokerAddressError.
    """
    words = membership.words_to_refresh(host=name, at=at, wants_password=wants_password)
    host = _signed(name, at, now, lambda key: is_signed_by(key, words, untrusted_signature))
    if not wants_password:
        return host, ""
    with transaction.atomic():
        password = broker_accounts.give_password(host=host, now=now, keeps_old=True)
        _note(None, "ROTATE_HOST_PASSWORD", host.id, name, "", now)
    return host, broker_accounts.url_for(host=name, password=password)


def _signed(name: str, at: int, now: datetime, is_good: Callable[[str], bool]) -> Host:
    host = Host.objects.filter(name=name).exclude(state=Host.State.REMOVED).first()
    is_fresh = abs(now.timestamp() - at) <= membership.SIGNED_FOR_SECONDS
    if host is None or not is_fresh or not any(is_good(key) for key in believed_keys(name=name, now=now)):
        log.warning("a request in the name of a host is refused: %.60r", name)
        raise JoinRefusedError
    return host


def note_key_used(*, host: Host, is_signed_with: Callable[[str], bool], now: datetime) -> None:
    """Promote the next key to the current key once an envelope signed with it was verified."""
    if not host.other_key_is_next or not is_signed_with(host.other_key):
        return
    Host.objects.filter(id=host.id, other_key=host.other_key, other_key_is_next=True).update(
        public_key=host.other_key,
        other_key=host.public_key,
        other_key_until=now + LAST_KEY_LIVES,
        other_key_is_next=False,
    )
    log.info("%s signs with its new key from now on", host.name)
