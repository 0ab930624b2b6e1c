"""What is away is told to everybody it concerns, with what still works; wrong turns lead on."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, override_settings
from django.utils import timezone

from tests.fixtures import observe
from webxen.inventory.models import Host
from webxen.jobs import observing
from webxen.machines.models import Machine
from webxen.settings import CACHES


@pytest.fixture
def silent(web1: Machine) -> Machine:
    """A machine whose host has said nothing for five minutes."""
    Host.objects.filter(id=web1.host_id).update(observed_at=timezone.now() - timedelta(minutes=5))
    return web1


@pytest.fixture
def heard(web1: Machine) -> Machine:
    Host.objects.filter(id=web1.host_id).update(observed_at=timezone.now())
    return web1


def page_of(person: Any, path: str = "/") -> str:
    client = Client()
    client.force_login(person)
    return client.get(path).content.decode()


class TestSilentHost:
    def test_its_people_are_told_and_strangers_are_not(self, silent, alice, bob, charlie, elsewhere):
        for person in (alice, bob):
            assert "The host of 1 machine is not responding" in page_of(person)
        assert "not responding. If it ran" not in page_of(charlie)

    def test_what_was_seen_last_is_kept_and_shown(self, silent, alice):
        page = page_of(alice, f"/machines/{silent.id}/")
        assert re.search(r"Running</span> <span[^>]*>seen <time", page)
        for _ in range(2):
            observing.lose_sight(now=timezone.now())
        page = page_of(alice, f"/machines/{silent.id}/")
        assert re.search(r"Unknown</span> <span[^>]*>last seen running <time", page)

    def test_a_list_of_domains_that_cannot_be_read_is_no_sight_of_them(self, silent, xen1, alice):
        seen_at = silent.power_seen_at
        # the word of a job that ended just now counts for some seconds
        observe(xen1, domains=None, now=timezone.now() + timedelta(seconds=6))
        silent.refresh_from_db()
        assert (silent.power, silent.last_power, silent.power_seen_at) == ("UNKNOWN", "RUNNING", seen_at)
        assert "last seen running" in page_of(alice, f"/machines/{silent.id}/")

    def test_staff_is_told_which(self, silent, dana):
        assert "The host xen1 is not responding" in page_of(dana)

    def test_what_it_showed_is_not_said_to_be_so_now(self, silent, dana):
        assert "As last heard" in page_of(dana, "/hosts/xen1/")
        Host.objects.update(observed_at=timezone.now())
        assert "As last heard" not in page_of(dana, "/hosts/xen1/")

    def test_nothing_is_said_of_one_that_responds(self, heard, alice, dana):
        for person in (alice, dana):
            assert "responding. " not in page_of(person).replace("The portal is not responding. This", "")


class TestBroker:
    def test_everybody_is_told_while_it_is_away(self, heard, alice, dana, tmp_path):
        nowhere = {**CACHES["default"], "LOCATION": f"unix://{tmp_path}/nobody.sock"}
        with override_settings(CACHES={"default": nowhere}):
            for person in (alice, dana):
                assert 'data-banner="broker"' in page_of(person)
        assert 'data-banner="broker"' not in page_of(alice)


class TestDrainWithNothingToMove:
    def test_says_what_the_button_does(self, xen1, dana):
        text = page_of(dana, "/hosts/xen1/drain/")
        assert "Nothing has to be moved." in text
        assert "Keep new machines off" in text
        assert "in all" not in text


class TestWrongTurns:
    def test_keep_the_side_bar_and_give_a_reference(self, heard, alice):
        client = Client()
        client.force_login(alice)
        for path, status in (("/hosts/nowhere/", 404), ("/nothing/here/", 404), ("/machines/x/", 404)):
            answer = client.get(path)
            text = answer.content.decode()
            assert answer.status_code == status
            assert 'id="side-bar"' in text
            assert re.search("Reference: <code>[0-9a-f]{32}</code>", text)

    def test_a_stranger_sees_no_side_bar(self, db):
        assert 'id="side-bar"' not in Client().get("/nothing/here/").content.decode()

    def test_an_expired_form_can_be_loaded_again(self, heard, alice):
        client = Client(enforce_csrf_checks=True)
        client.force_login(alice)
        where = f"http://testserver/machines/{heard.id}/"
        answer = client.post(f"/machines/{heard.id}/actions/reboot/", headers={"Referer": where})
        assert answer.status_code == 403
        assert f'href="{where}">' in answer.content.decode()
