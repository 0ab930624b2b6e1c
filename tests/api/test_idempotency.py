"""A POST told twice with one key is done once."""

import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from tests.fixtures import NOW
from webxen.accounts.models import ApiToken
from webxen.api.models import IdempotencyKey
from webxen.approvals.models import MachineRequest
from webxen.jobs.models import Job

WISH = {"name": "web1", "image": "minimal", "size": "small"}
KEY = {"Idempotency_Key": "0b9d5c1e-made-up"}


@pytest.fixture(autouse=True)
def things(lab: Any, minimal: Any, small: Any, lan: Any, xen1: Any) -> None:
    """What a wish names."""


class TestTheSameKey:
    def test_with_the_same_body_gets_the_same_answer(self, as_alice):
        first = as_alice.post("requests/", WISH, **KEY)
        second = as_alice.post("requests/", WISH, **KEY)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        assert first["Location"] == second["Location"]
        assert "Idempotency-Replayed" not in first
        assert second["Idempotency-Replayed"] == "true"
        assert MachineRequest.objects.count() == Job.objects.count() == 1

    def test_with_another_body_is_refused(self, as_alice):
        as_alice.post("requests/", WISH, **KEY)
        answer = as_alice.post("requests/", {**WISH, "name": "web2"}, **KEY)
        assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
        assert MachineRequest.objects.count() == 1

    def test_at_another_address_is_refused(self, as_alice, web1):
        as_alice.post(f"machines/{web1.id}/shutdown/", **KEY)
        assert as_alice.post(f"machines/{web1.id}/poweroff/", **KEY).status_code == 422

    def test_of_another_person_is_another_key(self, as_alice, as_charlie, elsewhere):
        first = as_alice.post("requests/", WISH, **KEY).json()
        second = as_charlie.post("requests/", WISH, **KEY).json()
        assert first["project"] == "lab"
        assert second["project"] == "elsewhere"

    def test_acts_on_a_machine_once(self, as_alice, web1):
        first = as_alice.post(f"machines/{web1.id}/reboot/", **KEY)
        second = as_alice.post(f"machines/{web1.id}/reboot/", **KEY)
        assert first.status_code == second.status_code == 202
        assert first.json() == second.json()
        assert Job.objects.filter(kind="REBOOT").count() == 1

    def test_after_a_refusal_may_be_used_again(self, as_alice, web1):
        assert as_alice.post(f"machines/{web1.id}/start/", **KEY).status_code == 409
        type(web1).objects.filter(id=web1.id).update(power="OFF")
        assert as_alice.post(f"machines/{web1.id}/start/", **KEY).status_code == 202

    def test_shows_a_tokens_secret_again_but_does_not_keep_it_readable(self, as_alice):
        before = ApiToken.objects.count()
        first = as_alice.post("tokens/", {"name": "laptop"}, **KEY).json()
        second = as_alice.post("tokens/", {"name": "laptop"}, **KEY).json()
        assert first == second
        assert ApiToken.objects.count() == before + 1
        row = IdempotencyKey.objects.get()
        kept = f"{row.key_hash} {row.fingerprint} {row.sealed_answer}"
        assert first["secret"] not in kept
        assert "made-up" not in kept

    def test_is_forgotten_after_a_day(self, as_alice):
        as_alice.post("tokens/", {"name": "laptop"}, **KEY)
        with time_machine.travel(NOW + timedelta(days=1, minutes=1)):
            answer = as_alice.post("tokens/", {"name": "other"}, **KEY)
        assert answer.status_code == 201

    @pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "ключ", "a\tb"])
    def test_that_is_no_key_is_refused(self, key, as_alice):
        answer = as_alice.post("requests/", WISH, Idempotency_Key=key)
        assert answer.status_code == 400
        assert not MachineRequest.objects.exists()

    def test_needs_to_be_allowed_first(self, as_reader, as_alice):
        as_alice.post("requests/", WISH, **KEY)
        assert as_reader.post("requests/", WISH, **KEY).status_code == 403

    @pytest.mark.django_db(transaction=True)
    def test_told_by_several_at_the_same_moment_is_done_once(self, as_alice):
        from django.db import connection

        answers: list[int] = []

        def ask() -> None:
            try:
                answers.append(as_alice.post("requests/", WISH, **KEY).status_code)
            finally:
                connection.close()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [201] * 4
        assert MachineRequest.objects.count() == Job.objects.count() == 1
