"""The page of what differs between the database and the hosts: staff looks, and nothing changes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.test import Client

from tests.api.test_matrix_who import everything
from tests.fixtures import observe
from webxen.accounts.models import User
from webxen.core import clock
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from worker.contract import DomainSeen

Browser = Callable[[User], Client]


class TestDifferences:
    def test_names_each_with_its_cure_and_changes_nothing(
        self, as_: Browser, dana: User, xen1: Any, web1: Machine
    ) -> None:
        type(xen1).objects.filter(id=xen1.id).update(memory_reserved_mib=1)
        dana_at = as_(dana)
        dana_at.get("/hosts/")
        before = everything()
        page = dana_at.get("/differences/").content.decode()
        assert everything() == before
        assert "HOST_MEMORY_DRIFT" in page
        assert "sets the reserved memory to the sum of its machines" in page
        assert "manage.py verify --fix" in page
        assert 'href="/hosts/xen1/"' in page

    def test_leads_to_machines_that_are_there_and_to_no_other(
        self, as_: Browser, dana: User, xen1: Any, web1: Machine
    ) -> None:
        stranger = "00000000-0000-4000-8000-000000000001"
        observe(xen1, now=clock.now(), domains=(DomainSeen("legacy", stranger, 1, "RUNNING", 64, 1),))
        Job.objects.update(finished_at=clock.now() - timedelta(days=1))
        page = as_(dana).get("/differences/").content.decode()
        assert "DOMAIN_UNKNOWN" in page
        assert stranger in page
        assert f"/machines/{stranger}/" not in page
        assert f"/machines/{web1.id}/" in page

    def test_says_that_it_cannot_see_a_silent_host(self, as_: Browser, dana: User, xen1: Any) -> None:
        observe(xen1, now=clock.now(), domains=None)
        page = as_(dana).get("/differences/").content.decode()
        assert "DOMAINS_UNREADABLE" in page
        assert "<code>manage.py verify --fix</code></td>" not in page

    def test_speaks_russian(self, as_: Browser, dana: User, xen1: Any) -> None:
        observe(xen1, now=clock.now(), domains=None)
        page = as_(dana).get("/differences/", headers={"Accept-Language": "ru"}).content.decode()
        assert "Расхождения" in page
        assert "Сравнено: узлов 1 из 1" in page
        assert "Узел xen1 не может прочитать список доменов" in page
        assert "Проверьте узел" in page

    def test_charlie_has_no_such_page(self, as_: Browser, charlie: User, alice: User) -> None:
        for who in (charlie, alice):
            assert as_(who).get("/differences/").status_code == 404
