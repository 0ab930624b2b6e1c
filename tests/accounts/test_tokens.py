"""Bearer tokens: who they open for, and when they stop."""

from datetime import timedelta
from uuid import uuid4

import pytest

from webxen.accounts import operations, queries, tokens
from webxen.accounts.models import ApiToken
from webxen.core.errors import InvalidError, NotFoundError
from webxen.core.models import AuditEntry


def make(user, now, **changed):
    fields = {"name": "laptop", "scopes": [], "expires_at": None, **changed}
    return operations.create_token(user=user, now=now, **fields)


class TestToken:
    def test_opens_for_its_person(self, alice, now):
        token, secret = make(alice, now)
        assert secret.startswith("wx_")
        assert tokens.user_for(secret=secret, now=now) == (alice, token)

    def test_secret_is_kept_nowhere(self, alice, now):
        _, secret = make(alice, now)
        row = ApiToken.objects.values().get()
        assert secret not in str(row)
        assert secret not in str(list(AuditEntry.objects.values()))

    @pytest.mark.parametrize(
        "secret", ["", "wx_", "wx_unknown", "Wx_x", "wx_\x00", "wx_é", "wx_" + "a" * 5000]
    )
    def test_unknown_secret_opens_nothing(self, alice, now, secret):
        make(alice, now)
        assert tokens.user_for(secret=secret, now=now) is None

    def test_expired_token_opens_nothing(self, alice, now):
        _, secret = make(alice, now, expires_at=now + timedelta(hours=1))
        assert tokens.user_for(secret=secret, now=now + timedelta(minutes=59)) is not None
        assert tokens.user_for(secret=secret, now=now + timedelta(hours=1)) is None

    def test_token_of_a_person_who_left_opens_nothing(self, alice, now):
        _, secret = make(alice, now)
        alice.is_active = False
        alice.save()
        assert tokens.user_for(secret=secret, now=now) is None

    def test_last_use_is_noted_to_the_minute(self, alice, now):
        _, secret = make(alice, now)
        tokens.user_for(secret=secret, now=now)
        tokens.user_for(secret=secret, now=now + timedelta(seconds=30))
        assert ApiToken.objects.get().last_used_at == now
        tokens.user_for(secret=secret, now=now + timedelta(seconds=61))
        assert ApiToken.objects.get().last_used_at == now + timedelta(seconds=61)


class TestCreateToken:
    @pytest.mark.parametrize(
        ("field", "changed"),
        [
            ("name", {"name": " "}),
            ("name", {"name": "a\nb"}),
            ("name", {"name": "x" * 81}),
            ("scopes", {"scopes": ["root"]}),
        ],
    )
    def test_names_the_wrong_field(self, alice, now, field, changed):
        with pytest.raises(InvalidError) as caught:
            make(alice, now, **changed)
        assert list(caught.value.fields) == [field]
        assert not ApiToken.objects.exists()

    def test_refuses_an_expiry_in_the_past(self, alice, now):
        with pytest.raises(InvalidError) as caught:
            make(alice, now, expires_at=now)
        assert "expires_at" in caught.value.fields


class TestRevokeToken:
    def test_revoked_token_opens_nothing(self, alice, now):
        token, secret = make(alice, now)
        operations.revoke_token(user=alice, token_id=token.id, now=now)
        assert tokens.user_for(secret=secret, now=now) is None
        assert AuditEntry.objects.filter(action="REVOKE_TOKEN", actor=alice).exists()

    def test_charlie_cannot_revoke_alices(self, alice, charlie, dana, now):
        token, _ = make(alice, now)
        for stranger in (charlie, dana):
            with pytest.raises(NotFoundError):
                operations.revoke_token(user=stranger, token_id=token.id, now=now)
        with pytest.raises(NotFoundError):
            operations.revoke_token(user=alice, token_id=uuid4(), now=now)
        assert list(queries.tokens_of(user=alice)) == [token]
        assert not queries.tokens_of(user=charlie).exists()


class TestProjects:
    def test_people_see_their_own_and_staff_sees_all(self, alice, bob, charlie, dana, lab, elsewhere):
        assert list(queries.projects_of(user=alice)) == [lab]
        assert list(queries.visible_projects(user=bob)) == [lab]
        assert list(queries.visible_projects(user=charlie)) == [elsewhere]
        assert set(queries.visible_projects(user=dana)) == {lab, elsewhere}
        assert not queries.projects_of(user=dana).exists()

    def test_members_are_told_but_not_those_who_left(self, alice, bob, lab):
        bob.is_active = False
        bob.save()
        assert queries.member_ids(project_id=lab.id) == [alice.id]
