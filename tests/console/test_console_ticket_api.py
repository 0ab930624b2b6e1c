"""How a page gets its ticket: signed in by session, with Django's CSRF token."""

from django.test import Client

from webxen.accounts.models import User
from webxen.machines.models import Machine


def signed_in(user: User) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    client.cookies["csrftoken"] = "a" * 32
    return client


def ask(client: Client, machine: Machine, csrf_token: str) -> int:
    answer = client.post(
        f"/api/v1/machines/{machine.id}/console/",
        "{}",
        content_type="application/json",
        headers={"X-CSRFToken": csrf_token},
    )
    return answer.status_code


def test_a_page_gets_a_ticket(web1: Machine, alice: User) -> None:
    assert ask(signed_in(alice), web1, "a" * 32) == 201


def test_a_foreign_page_gets_none(web1: Machine, alice: User) -> None:
    assert ask(signed_in(alice), web1, "b" * 32) == 403


def test_charlie_gets_none(web1: Machine, charlie: User) -> None:
    assert ask(signed_in(charlie), web1, "a" * 32) == 404


def test_nobody_gets_none(web1: Machine, db: None) -> None:
    assert ask(Client(), web1, "") == 401
