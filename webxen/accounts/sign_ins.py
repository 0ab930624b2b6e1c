"""Record sign-ins and changes of credentials in the audit; called from adapter.py.

A failed attempt has no actor, because the person is unknown. It names an account only if one of that name
exists: people sometimes type their password into the wrong field.
"""

import logging
from datetime import datetime, timedelta

from webxen.accounts.models import User
from webxen.core import audit, queries
from webxen.core.messages import Message

log = logging.getLogger(__name__)

#: maximum number of failed attempts in the audit within this time; further ones are only logged
MOST_FAILURES, FAILURES_WITHIN = 200, timedelta(minutes=10)
#: attempts refused by the limit: one entry per account and address within this time
REFUSALS_WITHIN = timedelta(minutes=10)

#: audit actions by allauth's event names for second factors
SECOND_FACTORS = {
    "totp_activated": "ENABLE_2FA",
    "totp_deactivated": "DISABLE_2FA",
    "webauthn_added": "ENABLE_2FA",
    "webauthn_removed": "DISABLE_2FA",
    "recovery_codes_generated": "NEW_RECOVERY_CODES",
}


def note_sign_in(*, user: User, now: datetime) -> None:
    _note(user, "SIGN_IN", "", now)


def note_sign_out(*, user: User, now: datetime) -> None:
    _note(user, "SIGN_OUT", "", now)


def note_new_password(*, user: User, now: datetime) -> None:
    _note(user, "CHANGE_PASSWORD", "", now)


def note_second_factor(*, user: User, event: str, now: datetime) -> None:
    """`event`: allauth's name; events that concern no second factor are not recorded."""
    if action := SECOND_FACTORS.get(event):
        _note(user, action, event, now)


def note_wrong_password(*, user: User, now: datetime) -> None:
    """Record that a signed-in user gave a wrong current password."""
    _note(user, "WRONG_PASSWORD", "", now)


def note_failure(*, username: str, now: datetime, why: str = "") -> None:
    """Record an attempt to sign in with a wrong name, password or second factor."""
    target_id, name = _account(username)
    log.warning("failed sign-in: %s", name or "no account of that name")
    if queries.has_room_for(action="SIGN_IN_FAILED", since=now - FAILURES_WITHIN, most=MOST_FAILURES):
        audit.record(
            actor=None,
            action="SIGN_IN_FAILED",
            target_kind="user",
            target_id=target_id,
            target_name=name,
            detail=why or ("" if name else Message("SIGN_IN_UNKNOWN_ACCOUNT")),
            now=now,
        )


def note_refusal(*, username: str, now: datetime) -> None:
    """Record an attempt that was refused unchecked, after too many failures."""
    target_id, name = _account(username)
    log.warning("sign-in refused after too many tries: %s", name or "no account of that name")
    if queries.has_room_for(action="SIGN_IN_REFUSED", since=now - FAILURES_WITHIN, most=MOST_FAILURES):
        audit.record_unless_recent(
            actor=None,
            action="SIGN_IN_REFUSED",
            target_kind="user",
            target_id=target_id,
            target_name=name,
            detail=Message("SIGN_IN_TOO_MANY_FAILURES"),
            now=now,
            within=REFUSALS_WITHIN,
        )


def _account(username: str) -> tuple[str, str]:
    """Return id and name of the account; empty strings if there is none."""
    # PostgreSQL stores no NUL, and no user name is longer
    untrusted = username.replace("\0", "")[:150]
    user = User.objects.filter(username__iexact=untrusted).first()
    return (str(user.pk), user.username) if user else ("", "")


def _note(user: User, action: str, detail: str, now: datetime) -> None:
    audit.record(
        actor=user,
        action=action,
        target_kind="user",
        target_id=str(user.pk),
        target_name=user.username,
        detail=detail,
        now=now,
    )
