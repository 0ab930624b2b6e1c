"""What the audit says of signing in and of what one signs in with. allauth does it; adapter.py tells it here.

A failed try has no actor: nobody knows who it was. It names an account only if there is one of that name, for
people type their passwords into the wrong field.
"""

import logging
from datetime import datetime, timedelta

from webxen.accounts.models import User
from webxen.core import audit, queries

log = logging.getLogger(__name__)

#: failed tries that the audit takes in this time; those beyond are in the log alone
MOST_FAILURES, FAILURES_WITHIN = 200, timedelta(minutes=10)
#: tries that were not looked at any more: one line for each account and address in this time
REFUSALS_WITHIN = timedelta(minutes=10)

#: changes of second factors, by what allauth calls them
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
    """`event`: allauth's word; one that is about no second factor is not written down."""
    if action := SECOND_FACTORS.get(event):
        _note(user, action, event, now)


def note_wrong_password(*, user: User, now: datetime) -> None:
    """Somebody who is signed in gave a wrong current password."""
    _note(user, "WRONG_PASSWORD", "", now)


def note_failure(*, username: str, now: datetime, why: str = "") -> None:
    """A try to sign in with a wrong name, password or second factor."""
    target_id, name = _account(username)
    log.warning("failed sign-in: %s", name or "no account of that name")
    if queries.has_room_for(action="SIGN_IN_FAILED", since=now - FAILURES_WITHIN, most=MOST_FAILURES):
        audit.record(
            actor=None,
            action="SIGN_IN_FAILED",
            target_kind="user",
            target_id=target_id,
            target_name=name,
            detail=why or ("" if name else "There is no account of that name."),
            now=now,
        )


def note_refusal(*, username: str, now: datetime) -> None:
    """A try that was not even looked at, after too many."""
    target_id, name = _account(username)
    log.warning("sign-in refused after too many tries: %s", name or "no account of that name")
    if queries.has_room_for(action="SIGN_IN_REFUSED", since=now - FAILURES_WITHIN, most=MOST_FAILURES):
        audit.record_unless_recent(
            actor=None,
            action="SIGN_IN_REFUSED",
            target_kind="user",
            target_id=target_id,
            target_name=name,
            detail="Too many failed tries.",
            now=now,
            within=REFUSALS_WITHIN,
        )


def _account(username: str) -> tuple[str, str]:
    """Id and name of the account; empty words where there is none."""
    # PostgreSQL takes no NUL, and no name is longer
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
