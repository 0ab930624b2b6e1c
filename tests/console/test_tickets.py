"""Tickets: one use, one minute, one person, one machine."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from webxen.accounts import operations as tokens
from webxen.accounts.models import User
from webxen.console import operations, queries
from webxen.console.models import ConsoleTicket
from webxen.core import request_context
from webxen.core.models import AuditEntry
from webxen.machines.models import Machine


def redeem(secret: str, machine: Machine, now: datetime, **changed: Any) -> User | None:
    ticket = operations.redeem_ticket(**{"secret": secret, "machine_id": machine.id, "now": now, **changed})
    return ticket.user if ticket is not None else None


class TestOpenTicket:
    def test_lasts_a_minute_and_is_kept_as_a_hash_only(
        self, web1: Machine, alice: User, now: datetime
    ) -> None:
        secret, expires_at = operations.open_ticket(user=alice, machine=web1, now=now)
        assert expires_at == now + timedelta(seconds=60)
        assert len(secret) >= 43
        assert secret not in str(ConsoleTicket.objects.values())

    def test_refuses_a_machine_without_a_host(self, web1: Machine, alice: User, now: datetime) -> None:
        web1.host = None
        with pytest.raises(operations.NoConsole):
            operations.open_ticket(user=alice, machine=web1, now=now)

    def test_one_person_cannot_pile_them_up(self, web1: Machine, alice: User, now: datetime) -> None:
        for _ in range(operations.MOST_TICKETS + 5):
            operations.open_ticket(user=alice, machine=web1, now=now)
        assert ConsoleTicket.objects.count() == operations.MOST_TICKETS


class TestRedeemTicket:
    def test_lets_in_once(self, web1: Machine, alice: User, now: datetime) -> None:
        secret, _ = operations.open_ticket(user=alice, machine=web1, now=now)
        assert redeem(secret, web1, now) == alice
        assert redeem(secret, web1, now) is None
        assert AuditEntry.objects.filter(action="OPEN_CONSOLE", actor=alice).count() == 1

    def test_is_void_after_a_minute(self, web1: Machine, alice: User, now: datetime) -> None:
        secret, _ = operations.open_ticket(user=alice, machine=web1, now=now)
        assert redeem(secret, web1, now + timedelta(seconds=60)) is None

    def test_is_for_one_machine_and_spent_when_tried_on_another(
        self, web1: Machine, alice: User, now: datetime
    ) -> None:
        secret, _ = operations.open_ticket(user=alice, machine=web1, now=now)
        assert redeem(secret, web1, now, machine_id=uuid4()) is None
        assert redeem(secret, web1, now) is None

    def test_somebody_disabled_since_is_not_let_in(self, web1: Machine, alice: User, now: datetime) -> None:
        secret, _ = operations.open_ticket(user=alice, machine=web1, now=now)
        User.objects.filter(pk=alice.pk).update(is_active=False)
        assert redeem(secret, web1, now) is None

    @pytest.mark.parametrize("untrusted", ["", "x", "тикет", "a" * 10_000, "\x00"])
    def test_nonsense_is_no_ticket(self, web1: Machine, now: datetime, untrusted: str) -> None:
        assert redeem(untrusted, web1, now) is None

    def test_of_many_at_once_one_gets_in(
        self, transactional_db: None, mailbox: object, web1: Machine, alice: User, now: datetime
    ) -> None:
        secret, _ = operations.open_ticket(user=alice, machine=web1, now=now)

        def attempt(_: int) -> bool:
            try:
                return redeem(secret, web1, now) is not None
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(attempt, range(16))) == 1


class TestAudit:
    """Opening a console is written down whatever the client says."""

    def visit(
        self, machine: Machine, user: User, now: datetime, address: str = "192.0.2.1", **asked: Any
    ) -> None:
        with request_context.within(request_id="r1", address=address):
            secret, _ = operations.open_ticket(user=user, machine=machine, now=now, **asked)
            assert redeem(secret, machine, now) == user

    def lines(self) -> list[AuditEntry]:
        return list(AuditEntry.objects.filter(action="OPEN_CONSOLE").order_by("id"))

    def test_has_one_line_for_a_visit_however_often_the_line_breaks(
        self, web1: Machine, dana: User, now: datetime
    ) -> None:
        for minute in range(9):
            self.visit(web1, dana, now + timedelta(minutes=minute))
        (line,) = self.lines()
        assert (line.actor, line.target_id, line.address) == (dana, str(web1.id), "192.0.2.1")
        self.visit(web1, dana, now + timedelta(minutes=11))
        assert len(self.lines()) == 2

    def test_has_a_line_for_each_person_address_and_token(
        self, web1: Machine, alice: User, dana: User, now: datetime
    ) -> None:
        token, _ = tokens.create_token(user=dana, name="ci", expires_at=None, now=now)
        self.visit(web1, dana, now)
        self.visit(web1, alice, now)
        self.visit(web1, dana, now, address="192.0.2.2")
        self.visit(web1, dana, now, token=token)
        assert [(line.actor, line.address, line.token_id) for line in self.lines()] == [
            (dana, "192.0.2.1", None),
            (alice, "192.0.2.1", None),
            (dana, "192.0.2.2", None),
            (dana, "192.0.2.1", token.id),
        ]


class TestHostOf:
    def test_a_stranger_has_no_seat(
        self, web1: Machine, alice: User, bob: User, charlie: User, dana: User
    ) -> None:
        participants = {
            person.username: queries.host_of(user=person, machine_id=web1.id)
            for person in (alice, bob, charlie, dana)
        }
        assert participants == {"alice": "xen1", "bob": "xen1", "charlie": None, "dana": "xen1"}

    def test_nobody_is_nobody(self, web1: Machine, now: datetime) -> None:
        assert queries.host_now(user_id=10**6, machine_id=web1.id, token_id=None, now=now) is None

    def test_a_token_lets_look_until_it_is_revoked_or_expires(
        self, web1: Machine, alice: User, now: datetime
    ) -> None:
        expires_at = now + timedelta(days=1)
        token, _ = tokens.create_token(user=alice, name="ci", expires_at=expires_at, now=now)

        def look(at: datetime) -> str | None:
            return queries.host_now(user_id=alice.pk, machine_id=web1.id, token_id=token.id, now=at)

        assert look(now) == "xen1"
        assert look(expires_at) is None
        tokens.revoke_token(user=alice, token_id=token.id, now=now)
        assert look(now) is None

    def test_a_ticket_goes_with_its_token(self, web1: Machine, alice: User, now: datetime) -> None:
        token, _ = tokens.create_token(user=alice, name="ci", expires_at=None, now=now)
        secret, _ = operations.open_ticket(user=alice, machine=web1, now=now, token=token)
        tokens.revoke_token(user=alice, token_id=token.id, now=now)
        assert redeem(secret, web1, now) is None
