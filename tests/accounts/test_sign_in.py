"""Signing in: wrong passwords slow down whoever tries them, and nobody else; each costs one hash."""

from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher, MD5PasswordHasher
from django.test import Client
from django.utils.module_loading import import_string

from webxen.accounts.models import User

RIGHT, WRONG = "a-right-pass-phrase-7", "wrong"
STRANGER, HOME = "203.0.113.9", "192.0.2.7"


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob", password=RIGHT)


def sign_in(address: str, password: str, username: str = "bob") -> Any:
    form = {"login": username, "password": password}
    return Client(REMOTE_ADDR=address).post("/accounts/login/", form)


class TestWrongPasswords:
    def test_of_a_stranger_do_not_keep_bob_out(self, bob: User) -> None:
        assert [sign_in(STRANGER, WRONG).status_code for _ in range(40)][-1] == 429
        assert sign_in(HOME, RIGHT).status_code == 302

    def test_of_a_thousand_addresses_do_not_keep_bob_out(self, bob: User) -> None:
        for n in range(200):
            sign_in(f"203.0.{n}.1", WRONG)
        assert sign_in(HOME, RIGHT).status_code == 302

    def test_for_one_person_are_limited_and_say_when_to_come_again(self, bob: User) -> None:
        told = [sign_in(STRANGER, WRONG) for _ in range(6)]
        assert [answer.status_code for answer in told] == [200] * 5 + [429]
        assert told[-1].headers["Retry-After"] == "60"
        assert "Too many tries. Wait a minute, then try again." in told[-1].text

    def test_for_many_people_are_limited_by_address(self, bob: User) -> None:
        told = [sign_in(STRANGER, WRONG, f"person{n}").status_code for n in range(11)]
        assert told == [200] * 10 + [429]

    def test_of_one_network_of_ipv6_count_together(self, bob: User) -> None:
        told = [sign_in(f"2001:db8::{n}", WRONG).status_code for n in range(1, 7)]
        assert told[-1] == 429

    def test_are_told_in_russian_too(self, bob: User) -> None:
        for _ in range(5):
            sign_in(STRANGER, WRONG)
        client = Client(REMOTE_ADDR=STRANGER, headers={"accept-language": "ru"})
        answer = client.post("/accounts/login/", {"login": "bob", "password": WRONG})
        assert "Слишком много попыток. Подождите минуту и попробуйте ещё раз." in answer.text

    def test_before_the_limit_keep_the_right_one_in(self, bob: User) -> None:
        told = [sign_in(HOME, WRONG).status_code for _ in range(4)]
        assert told == [200] * 4
        assert sign_in(HOME, RIGHT).status_code == 302


class TestOneTry:
    @pytest.fixture
    def hashes(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The passwords that were hashed."""
        seen: list[str] = []
        encode = MD5PasswordHasher.encode

        def count(hasher: Any, password: str, salt: str) -> Any:
            seen.append(password)
            return encode(hasher, password, salt)

        monkeypatch.setattr(MD5PasswordHasher, "encode", count)
        return seen

    @pytest.mark.parametrize("username", ["bob", "nobody", "gone"])
    def test_costs_one_hash_whoever_it_is_for(self, username: str, bob: User, hashes: list[str]) -> None:
        User.objects.create_user("gone", password=RIGHT, is_active=False)
        hashes.clear()
        sign_in(STRANGER, WRONG, username)
        assert hashes == [WRONG]

    def test_beyond_the_limit_costs_none(self, bob: User, hashes: list[str]) -> None:
        for _ in range(5):
            sign_in(STRANGER, WRONG)
        hashes.clear()
        assert sign_in(STRANGER, WRONG).status_code == 429
        assert hashes == []

    def test_is_hashed_with_argon2_in_the_product(self) -> None:
        from webxen import settings

        assert issubclass(import_string(settings.PASSWORD_HASHERS[0]), Argon2PasswordHasher)
