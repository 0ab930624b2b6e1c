"""Forms of allauth's pages with additions: a new password may revoke tokens, wrong codes are audited."""

from typing import Any

from allauth.account.forms import ChangePasswordForm
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from django import forms
from django.utils.translation import gettext_lazy as _

from webxen.accounts import operations, sign_ins
from webxen.core import clock
from webxen.core.messages import Message

WRONG_FACTOR = Message("SIGN_IN_WRONG_SECOND_FACTOR")


class ChangePassword(ChangePasswordForm):  # type: ignore[misc]
    """A new password; Django ends the user's other sessions."""

    revoke_tokens = forms.BooleanField(
        label=_("Also revoke all my API tokens"),
        help_text=_("Do this if somebody else may know the password. All other sessions end in any case."),
        required=False,
    )

    def clean_oldpassword(self) -> str:
        try:
            return str(super().clean_oldpassword())
        except forms.ValidationError:
            sign_ins.note_wrong_password(user=self.user, now=clock.now())
            raise

    def save(self) -> None:
        super().save()
        if self.cleaned_data["revoke_tokens"]:
            operations.revoke_tokens_of(person=self.user, by=self.user, now=clock.now())


class SecondFactor(AuthenticateForm):  # type: ignore[misc]
    """The second factor after the password at sign-in."""

    def clean_code(self) -> Any:
        try:
            return super().clean_code()
        except forms.ValidationError:
            sign_ins.note_failure(username=self.user.username, why=WRONG_FACTOR, now=clock.now())
            raise


class SecondFactorAgain(ReauthenticateForm):  # type: ignore[misc]
    """The second factor before a sensitive action."""

    def clean_code(self) -> Any:
        try:
            return super().clean_code()
        except forms.ValidationError:
            sign_ins.note_failure(username=self.user.username, why=WRONG_FACTOR, now=clock.now())
            raise
