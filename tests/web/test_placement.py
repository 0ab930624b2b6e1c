"""Why a machine is where it is: for staff, in their language, and for nobody else."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.fixtures import NOW, observe
from webxen.accounts.models import User
from webxen.approvals.models import MachineRequest
from webxen.inventory import operations as inventory
from webxen.inventory.models import Host
from webxen.machines.models import Machine

Browser = Callable[[User], Client]


@pytest.fixture
def xen2(db: None) -> Host:
    host = inventory.accept_host(name="xen2", public_key="-", now=NOW)
    observe(host)
    return host


@pytest.fixture
def placed(as_: Browser, alice: User, lab: Any, xen2: Host, wish: dict[str, str]) -> Machine:
    """Alice's machine is on xen1: xen2 has no memory left."""
    Host.objects.filter(id=xen2.id).update(memory_mib=100, memory_reserved_mib=0)
    as_(alice).post("/machines/new/", wish)
    return Machine.objects.get()


class TestWhyThisHost:
    def test_staff_reads_what_was_said_of_each_host(self, as_: Browser, placed: Machine, dana: User) -> None:
        request = MachineRequest.objects.get()
        for page in (f"/machines/{placed.id}/", f"/requests/{request.id}/"):
            text = as_(dana).get(page).content.decode()
            assert "Why this host" in text
            assert "36 MiB of memory free, 256 MiB needed" in text
            assert "fits" in text

    def test_in_russian_too(self, as_: Browser, placed: Machine, dana: User) -> None:
        page = as_(dana).get(f"/machines/{placed.id}/", headers={"accept-language": "ru"})
        assert "свободно памяти 36 МиБ, нужно 256 МиБ" in page.content.decode()

    def test_its_owner_reads_nothing_of_hosts(self, as_: Browser, placed: Machine, alice: User) -> None:
        text = as_(alice).get(f"/machines/{placed.id}/").content.decode()
        assert "Why this host" not in text
        assert "xen2" not in text

    def test_a_stranger_finds_no_page(self, as_: Browser, placed: Machine, charlie: User) -> None:
        assert as_(charlie).get(f"/machines/{placed.id}/").status_code == 404

    def test_a_waiting_machine_keeps_every_refusal(
        self, as_: Browser, alice: User, dana: User, lab: Any, xen1: Host, wish: dict[str, Any]
    ) -> None:
        Host.objects.filter(id=xen1.id).update(memory_mib=100, memory_reserved_mib=0)
        as_(alice).post("/machines/new/", wish)
        machine = Machine.objects.get()
        assert machine.host is None
        assert [(one["host"], one["code"]) for one in machine.placement] == [("xen1", "MEMORY")]
        assert "36 MiB of memory free" in as_(dana).get(f"/machines/{machine.id}/").content.decode()

    def test_approvals_offer_the_hosts_with_their_reasons(
        self, as_: Browser, alice: User, dana: User, lab: Any, xen2: Host, wish: dict[str, Any]
    ) -> None:
        Host.objects.filter(id=xen2.id).update(state=Host.State.DRAINING)
        as_(alice).post("/machines/new/", wish | {"size": "own", "memory_mib": "300"})
        text = as_(dana).get("/approvals/").content.decode()
        assert '<option value="xen1">xen1: fits</option>' in text
        assert '<option value="xen2" disabled>xen2: does not accept new machines</option>' in text
