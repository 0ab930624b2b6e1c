"""Odd text in addresses and forms, and odd words of a host: an ordinary answer or 400, never 500."""

import json
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse

from tests.fixtures import NOW
from tests.web.test_strangers import POST_ONLY
from webxen.accounts.models import User
from webxen.inventory.models import Host
from webxen.jobs import observing
from webxen.web.urls import urlpatterns
from worker import contract

NAMES = (
    "q",
    "host",
    "page",
    "status",
    "state",
    "sort",
    "power",
    "project",
    "image",
    "size",
    "network",
    "part",
)
ODD = {
    "a NUL": "%00",
    "a NUL in a word": "a%00b",
    "a lone surrogate": "%ED%A0%80",
    "bytes that are no UTF-8": "%FF%FE",
    "a long number": "9" * 400,
    "a digit of another script": "%D9%A3",
    "a percent sign": "%25",
    "a bidirectional override": "%E2%80%AE",
    "an escape": "%1B%5B31m",
    "a bracket": "%5B%5D",
}
OPEN = [route.name for route in urlpatterns if getattr(route, "name", None) and "<" not in str(route.pattern)]


@pytest.fixture
def dana_browser(dana: User, xen1: Host) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(dana)
    return client


class TestAddresses:
    @pytest.mark.parametrize("page", [name for name in OPEN if name not in POST_ONLY])
    def test_every_list_answers(self, dana_browser, minimal, small, lan, page):
        for what, odd in ODD.items():
            query = "&".join(f"{name}={odd}" for name in NAMES)
            answer = dana_browser.get(f"{reverse(page)}?{query}")
            assert answer.status_code in ((400,) if "%00" in odd else (200, 302, 400, 404, 405)), what

    def test_a_name_of_a_parameter_may_be_odd_too(self, dana_browser):
        assert dana_browser.get("/machines/?%00=1").status_code == 400

    def test_the_page_says_what_is_wrong(self, dana_browser):
        assert b"is not text (NUL)" in dana_browser.get("/machines/?q=%00").content

    def test_a_stranger_gets_the_same(self, db, client):
        assert client.get("/accounts/login/?next=%00").status_code == 400

    def test_the_api_has_its_own_answer(self, dana_browser):
        answer = dana_browser.get("/api/v1/machines/?q=%00")
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


class TestForms:
    @pytest.mark.parametrize("page", OPEN)
    def test_a_form_with_a_nul_is_refused(self, dana_browser, wish, page):
        sent = {name: f"{value}\0" for name, value in wish.items()}
        sent |= dict.fromkeys(("fingerprint", "words", "machine", "version", "login", "host"), "a\0b")
        answer = dana_browser.post(reverse(page), sent)
        assert answer.status_code in (400, 405)

    def test_signing_in_with_one_too(self, db, client):
        answer = client.post("/accounts/login/", {"login": "dana\0", "password": "x\0"})
        assert answer.status_code == 400


WORDS = (
    "\x00 \ud800 \x1b[31m \x9b \u202e <script>alert(1)</script>",
    "x" * 100_000,
    "'\" {{ 7 }} {% now %} &amp;",
    "",
)
NUMBERS = (-(2**70), 2**70)


@pytest.mark.parametrize("state", [Host.State.NEW, Host.State.DRAINING])
@pytest.mark.parametrize(
    ("word", "number"), list(zip(WORDS, NUMBERS * 2, strict=True)), ids=["control", "long", "markup", "empty"]
)
def test_every_page_and_list_answers_whatever_a_host_says(dana_browser, web1_there, word, number, state):
    host = web1_there
    Host.objects.filter(id=host.id).update(state=state)
    host.refresh_from_db()
    domain = contract.DomainSeen(word, word, number, "RUNNING", number, number, float("nan"))
    facts = dict.fromkeys(
        ("host", "nr_cpus", "total_memory", "hw_caps", "virt_caps", "xen_major", "xen_minor", "machine"), word
    )
    said = contract.Observation(
        host="xen1",
        facts={**facts, word: word, "total_memory": "9" * 4000, "free_memory": word},
        pools=(contract.PoolSeen(word, "FILE", number, number, word, is_shared=True),) * 3
        + (contract.PoolSeen("local", "FILE", number, number),),
        bridges=(word, "xenbr0"),
        domains=(domain, domain),
        images={word: word},
        worker_version=word,
        holdings=contract.Holdings(
            (contract.VolumeSeen(word, word, word, number),),
            (word,),
            (word, "not-a-uuid"),
            (contract.FenceSeen(word, number),),
            (contract.JobSeen(word, word),),
        ),
        portal_keys=(word,),
        relay_certificate=word,
        relay_address=word,
        kernels=(word,),
        at=number,
    )
    observing.apply_observation(host=host, observation=said, now=NOW)
    pages = [
        "/",
        "/hosts/",
        "/hosts/xen1/",
        "/machines/",
        "/machines/new/",
        "/differences/",
        "/balance/",
        "/audit/",
    ]
    lists = ["hosts", "pools", "machines", "differences", f"hosts/{host.id}", "jobs", "balance"]
    if state != Host.State.NEW:
        pages.append("/hosts/xen1/drain/")
    for path in (*pages, *(f"/api/v1/{name}/" for name in lists)):
        answer = dana_browser.get(path)
        assert answer.status_code in (200, 404, 405), path
        shown = answer.content.decode()
        assert not any(char in shown for char in "\x00\x1b\x9b\u202e\x7f"), path
        assert "<script>alert" not in shown or path.startswith("/api/")
        if path.startswith("/api/"):
            json.loads(shown)


@pytest.fixture
def web1_there(xen1, order_machine):
    order_machine("web1")
    return xen1


def test_a_domain_without_a_name_is_shown_with_its_cure(dana_browser, xen1):
    stranger, named = str(UUID(int=7)), str(UUID(int=8))
    said = contract.Observation(
        host="xen1",
        facts={},
        pools=(),
        bridges=(),
        domains=(
            contract.DomainSeen("", stranger, 7, "UNKNOWN", 1, 1),
            contract.DomainSeen("mail", named, 8, "RUNNING", 128, 1),
        ),
    )
    observing.apply_observation(host=xen1, observation=said, now=NOW)
    text = dana_browser.get("/hosts/xen1/").content.decode()
    assert "without a name" in text
    assert "destroy it as root on xen1: xl destroy 7" in text
    assert "xl destroy 8" not in text


def test_staff_is_told_that_a_host_is_odd(dana_browser, xen1):
    pools = tuple(contract.PoolSeen(f"p{n}", "FILE", 1, 1) for n in range(9000))
    said = contract.Observation(
        host="xen1", facts={}, pools=pools, bridges=("\0",), domains=(), relay_address="127.0.0.1"
    )
    observing.apply_observation(host=xen1, observation=said, now=NOW)
    for path in ("/hosts/", "/hosts/xen1/"):
        text = dana_browser.get(path).content.decode()
        assert "bridges: 1, pools: 8936" in text
        assert "relay address reported by" in text
