"""Bearer tokens: who they open for, and when they stop."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from webxen.accounts import operations, queries, tokens
from webxen.accounts.models import ApiToken
from webxen.core import request_context
from webxen.core.errors import ForbiddenError, InvalidError, NotFoundError
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

    def test_charlie_cannot_revoke_alices(self, alice, charlie, now):
        token, _ = make(alice, now)
        with pytest.raises(NotFoundError):
            operations.revoke_token(user=charlie, token_id=token.id, now=now)
        with pytest.raises(NotFoundError):
            operations.revoke_token(user=alice, token_id=uuid4(), now=now)
        assert list(queries.tokens_visible_to(user=alice)) == [token]
        assert not queries.tokens_visible_to(user=charlie).exists()

    def test_staff_revokes_anybodys(self, alice, dana, now):
        token, secret = make(alice, now)
        assert list(queries.tokens_visible_to(user=dana)) == [token]
        operations.revoke_token(user=dana, token_id=token.id, now=now)
        assert tokens.user_for(secret=secret, now=now) is None
        row = AuditEntry.objects.get(action="REVOKE_TOKEN")
        assert (row.actor, row.detail) == (dana, "of alice")

    def test_all_of_a_person_go_at_once(self, alice, bob, now):
        secrets = [make(alice, now)[1] for _ in range(3)]
        _, bobs = make(bob, now)
        assert operations.revoke_tokens_of(person=alice, by=alice, now=now) == 3
        assert [tokens.user_for(secret=secret, now=now) for secret in secrets] == [None] * 3
        assert tokens.user_for(secret=bobs, now=now) is not None
        assert AuditEntry.objects.filter(action="REVOKE_TOKEN", actor=alice).count() == 3


class TestTokenOfAToken:
    def test_dies_with_it_and_so_do_its_own(self, alice, now):
        parent, _ = make(alice, now)
        child, child_secret = make(alice, now, parent=parent)
        _, grandchild_secret = make(alice, now, parent=child)
        operations.revoke_token(user=alice, token_id=parent.id, now=now)
        assert tokens.user_for(secret=child_secret, now=now) is None
        assert tokens.user_for(secret=grandchild_secret, now=now) is None
        assert AuditEntry.objects.filter(action="REVOKE_TOKEN").count() == 3

    def test_lives_no_longer(self, alice, now):
        end = now + timedelta(seconds=20)
        parent, _ = make(alice, now, expires_at=end)
        child, secret = make(alice, now, parent=parent)
        assert child.expires_at == end
        assert tokens.user_for(secret=secret, now=end) is None
        with pytest.raises(InvalidError) as caught:
            make(alice, now, parent=parent, expires_at=end + timedelta(seconds=1))
        assert list(caught.value.fields) == ["expires_at"]

    @pytest.mark.parametrize("scopes", [[], ["read", "root"], ["root"]])
    def test_may_do_no_more(self, alice, now, scopes):
        parent, _ = make(alice, now, scopes=["read"])
        assert make(alice, now, parent=parent, scopes=["read"])[0].scopes == ["read"]
        with pytest.raises(InvalidError) as caught:
            make(alice, now, parent=parent, scopes=scopes)
        assert list(caught.value.fields) == ["scopes"]

    def test_of_one_revoked_meanwhile_is_not_made(self, alice, now):
        parent, _ = make(alice, now)
        operations.revoke_token(user=alice, token_id=parent.id, now=now)
        with pytest.raises(ForbiddenError):
            make(alice, now, parent=parent)


class TestNumberOfTokens:
    def test_has_an_end_and_expired_ones_do_not_count(self, alice, bob, now, settings):
        settings.WEBXEN_TOKENS_PER_PERSON = 3
        make(alice, now, expires_at=now + timedelta(hours=1))
        parent, _ = make(alice, now)
        make(alice, now, parent=parent)
        for given in (None, parent):
            with pytest.raises(operations.TooManyTokensError):
                make(alice, now, parent=given)
        make(bob, now)
        make(alice, now + timedelta(hours=1))


class TestUseOfAToken:
    def use(self, secret, address, now):
        with request_context.within(request_id="r1", address=address):
            assert tokens.user_for(secret=secret, now=now) is not None

    def test_from_a_new_address_is_audited_once(self, alice, now):
        token, secret = make(alice, now)
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"):
            self.use(secret, address, now)
        rows = AuditEntry.objects.filter(action="USE_TOKEN").order_by("id")
        assert [(row.address, row.token_id, row.request_id) for row in rows] == [
            ("192.0.2.1", token.id, "r1"),
            ("192.0.2.2", token.id, "r1"),
        ]

    def test_from_ever_new_addresses_does_not_fill_the_audit(self, alice, now):
        _, secret = make(alice, now)
        for number in range(tokens.MOST_ADDRESSES + 5):
            self.use(secret, f"2001:db8::{number:x}", now)
        rows = AuditEntry.objects.filter(action="USE_TOKEN").order_by("id")
        assert rows.count() == tokens.MOST_ADDRESSES + 1
        assert "more than 100 addresses" in rows.last().detail

    def test_says_from_where_it_was_used_last(self, alice, now):
        _, secret = make(alice, now)
        self.use(secret, "192.0.2.1", now)
        self.use(secret, "192.0.2.2", now + timedelta(minutes=1))
        assert ApiToken.objects.get().last_address == "192.0.2.2"


class TestTokensCommand:
    def test_lists_and_revokes(self, alice, bob, now, capsys):
        token, secret = make(alice, now)
        make(bob, now, name="bobs")
        call_command("tokens", user="alice")
        out = capsys.readouterr().out
        assert str(token.id) in out
        assert "bobs" not in out
        assert secret not in out
        call_command("tokens", revoke=token.id)
        call_command("tokens", user="bob", revoke_all=True)
        assert not ApiToken.objects.exists()
        revoked = AuditEntry.objects.filter(action="REVOKE_TOKEN")
        assert [(line.actor, line.policy) for line in revoked] == [(None, "COMMAND_LINE")] * 2
        with pytest.raises(CommandError):
            call_command("tokens", revoke=token.id)
        with pytest.raises(CommandError):
            call_command("tokens", user="nobody")


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
