"""Hand-made domains on a host's pages: marked as known, and counted where the host is emptied or given up."""

from datetime import timedelta
from uuid import UUID

import pytest
import time_machine

from tests.fixtures import NOW, observe
from webxen.core.models import AuditEntry
from webxen.inventory.models import LeftAlone
from worker import contract

MAIL = UUID(int=1)
DOOR = f"/hosts/xen1/domains/{MAIL}/"


@pytest.fixture
def busy(xen1):
    observe(xen1, domains=(contract.DomainSeen("mail", str(MAIL), 7, "RUNNING", 128, 1),))
    return xen1


def test_staff_marks_one_as_known_and_takes_it_back(busy, as_, dana):
    browser = as_(dana)
    assert "Ignore" in browser.get("/hosts/xen1/").content.decode()
    assert browser.post(DOOR).status_code == 302
    text = browser.get("/hosts/xen1/").content.decode()
    assert "known, ignored" in text
    assert "Report it again" in text
    assert browser.post(DOOR, {"watch": "1"}).status_code == 302
    assert not LeftAlone.objects.exists()


def test_nobody_else_does(busy, as_, alice, charlie):
    for person in (alice, charlie):
        assert as_(person).post(DOOR).status_code == 404
    assert not LeftAlone.objects.exists()


def test_a_script_marks_one_and_takes_it_back(busy, as_, dana, alice, charlie):
    door = f"/api/v1/hosts/xen1/known-domains/{MAIL}/"
    for person in (alice, charlie):
        assert as_(person).put(door).status_code == 403
    script = as_(dana)
    for _ in range(2):
        answer = script.put(door)
        assert answer.status_code == 200
        assert (answer.json()["name"], answer.json()["noted_by"]) == ("mail", "dana")
    assert [one["uuid"] for one in script.get("/api/v1/hosts/xen1/known-domains/").json()["results"]] == [
        str(MAIL)
    ]
    assert script.put(f"/api/v1/hosts/xen1/known-domains/{UUID(int=9)}/").status_code == 400
    assert script.delete(door).status_code == 204
    assert script.delete(door).status_code == 404
    told = AuditEntry.objects.filter(target_name="xen1", actor=dana).values_list("action", flat=True)
    assert sorted(told) == ["LEAVE_DOMAIN_ALONE", "WATCH_DOMAIN_AGAIN"]


def test_who_drains_the_host_is_told(busy, as_, dana):
    browser = as_(dana)
    text = browser.get("/hosts/xen1/drain/").content.decode()
    assert 'data-strangers="1"' in text
    assert "1 domain on xen1 is none of our machines" in text
    told = browser.get("/api/v1/hosts/xen1/drain/").json()["foreign_domains"]
    assert told == [{"name": "mail", "uuid": str(MAIL), "power": "RUNNING"}]


def test_who_gives_the_host_up_is_told(busy, as_, dana):
    browser = as_(dana)
    with time_machine.travel(NOW + timedelta(seconds=60)):
        assert 'data-strangers="1"' in browser.get("/hosts/xen1/restart-elsewhere/").content.decode()
        told = browser.get("/api/v1/hosts/xen1/fence/").json()["foreign_domains"]
    assert [one["name"] for one in told] == ["mail"]
