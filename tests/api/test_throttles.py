"""Limits of the API: a person, a token, an address, wrong tokens; 429 with Retry-After, and nobody else's."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from tests.api.conftest import Caller, issue
from tests.fixtures import NOW
from webxen.core import held_reads


@pytest.fixture(autouse=True)
def limits(settings: Any) -> dict[str, str]:
    rates = {"person": "6/min", "token": "4/min", "address": "4/min", "wrong_token": "3/min"}
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}
    return rates


def statuses(caller: Any, count: int, path: str = "me/") -> list[int]:
    return [caller.get(path).status_code for _ in range(count)]


class TestToken:
    def test_has_its_limit_and_says_when_to_come_again(self, as_alice: Caller) -> None:
        assert statuses(as_alice, 5) == [200] * 4 + [429]
        answer = as_alice.post("tokens/", {"name": "x"})
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_REQUESTS")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60

    def test_begins_anew_with_the_next_minute(self, as_alice: Caller) -> None:
        assert statuses(as_alice, 5)[-1] == 429
        with time_machine.travel(NOW + timedelta(minutes=1)):
            assert statuses(as_alice, 1) == [200]

    def test_leaves_the_persons_other_token_the_rest(self, as_alice: Caller, alice: Any) -> None:
        other = Caller(issue(alice))
        assert statuses(as_alice, 4) == [200] * 4
        assert statuses(other, 3) == [200, 200, 429]

    def test_is_nobody_elses(self, as_alice: Caller, as_charlie: Caller) -> None:
        assert statuses(as_alice, 5)[-1] == 429
        assert statuses(as_charlie, 1) == [200]

    def test_counts_a_held_read_once(self, as_alice: Caller) -> None:
        for _ in range(20):
            answer = as_alice.client.get(
                "/api/v1/me/", headers=as_alice.headers, **{held_reads.WAITED: held_reads.ENDED}
            )
            assert answer.status_code == 200


class TestPerson:
    def test_is_limited_by_session_as_well(self, alice: Any) -> None:
        client = Client()
        client.force_login(alice)
        assert [client.get("/api/v1/me/").status_code for _ in range(7)] == [200] * 6 + [429]


class TestAddress:
    @pytest.mark.parametrize("path", ["me/", "machines/", "hosts/"])
    def test_without_a_name_is_limited_before_it_is_refused(self, path: str, db: None) -> None:
        assert statuses(Caller(), 5, path) == [401] * 4 + [429]

    @pytest.mark.parametrize("path", ["hosts/join/", "hosts/rotate-key/", "hosts/refresh/"])
    def test_is_limited_where_nobody_must_be_known(self, path: str, db: None) -> None:
        told = [Caller().post(path, {}).status_code for _ in range(5)]
        assert told == [400] * 4 + [429]

    def test_is_one_network_of_ipv6(self, db: None) -> None:
        told = [Client(REMOTE_ADDR=f"2001:db8::{n}").get("/api/v1/me/").status_code for n in range(1, 6)]
        assert told == [401] * 4 + [429]
        assert Client(REMOTE_ADDR="2001:db8:1::1").get("/api/v1/me/").status_code == 401

    def test_is_not_what_a_header_says(self, db: None) -> None:
        told = [Caller().get("me/", X_Forwarded_For=f"203.0.113.{n}").status_code for n in range(5)]
        assert told[-1] == 429

    def test_keeps_nobody_out_who_is_known(self, as_alice: Caller) -> None:
        assert statuses(Caller(), 5)[-1] == 429
        assert statuses(as_alice, 1) == [200]


class TestWrongToken:
    def test_is_limited_by_address(self, db: None) -> None:
        told = [Caller(f"wx_wrong{n}").get("me/").status_code for n in range(4)]
        assert told == [401] * 3 + [429]

    def test_keeps_no_good_one_out(self, as_alice: Caller) -> None:
        assert [Caller(f"wx_{n}").get("me/").status_code for n in range(5)][-1] == 429
        assert statuses(as_alice, 2) == [200, 200]
