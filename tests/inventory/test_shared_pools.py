"""A pool that several hosts see is one pool: its room is there once, and new disks may go to it."""

import pytest

from tests.fixtures import observe, public_pem
from webxen.inventory import operations, queries
from webxen.inventory.models import Host, Pool
from webxen.jobs import orders
from webxen.machines.models import Machine
from worker import contract

GROUP = "Pd4Mrl-WbnM-wRnv-0PCS-6JVn-pnWx-7fEnbC"


def tell(host, now, *pools):
    operations.record_observation(
        host=host,
        observation=contract.Observation(
            host=host.name, facts={"free_memory": "8192"}, pools=pools, bridges=("xenbr0",), domains=()
        ),
        ours=(),
        now=now,
    )


def own(host):
    return contract.PoolSeen("local", "FILE", 204800, 204800, id=f"of {host.name}")


def shared(free_mib, name="shared"):
    return contract.PoolSeen(name, "LVM", 4096, free_mib, id=GROUP, is_shared=True)


@pytest.fixture
def xen2(xen1, xen1_key, now):
    host = operations.accept_host(name="xen2", public_key=public_pem(xen1_key), now=now)
    observe(host)
    return host


class TestOnePool:
    def test_is_known_by_the_hosts_that_see_it(self, xen1, xen2, now):
        for host in (xen1, xen2):
            tell(host, now, own(host), shared(4000))
        assert queries.hosts_seeing(host=xen1, pool="shared") == [xen1, xen2]
        assert queries.shared_pools_of(host=xen2) == {"shared"}
        assert queries.hosts_seeing(host=xen1, pool="local") == [xen1]
        assert queries.hosts_seeing(host=xen1, pool="gone") == []

    def test_has_the_room_that_its_hosts_agree_on(self, xen1, xen2, now):
        tell(xen1, now, shared(4000))
        tell(xen2, now, shared(1000))
        assert [host.pools["shared"] for host in queries.figures(now=now)] == [1000, 1000]
        tell(xen1, now, shared(500))
        assert [host.pools["shared"] for host in queries.figures(now=now)] == [500, 500]

    def test_is_no_longer_shared_where_a_host_sees_another_of_its_name(self, xen1, xen2, now):
        tell(xen1, now, shared(4000))
        tell(xen2, now, contract.PoolSeen("shared", "LVM", 100, 100, id="another group of this name"))
        assert queries.hosts_seeing(host=xen1, pool="shared") == [xen1]
        assert Pool.objects.get(host=xen2).free_mib == 100


class TestNewDisks:
    @pytest.fixture(autouse=True)
    def _hosts(self, xen1, xen2, now, settings):
        self.now = now
        settings.WEBXEN_NEW_DISKS = "SHARED"
        tell(xen1, now, own(xen1), shared(4000))
        tell(xen2, now, own(xen2), shared(4000))

    def test_go_where_several_hosts_see_them(self, order_machine):
        job = order_machine("web1", disk_gib=2)
        order = orders.order_for(
            job, job.machine, list(job.machine.disks.all()), list(job.machine.interfaces.all())
        )
        assert [disk.pool for disk in order.machine.disks] == ["shared"]
        assert job.status == "QUEUED"

    def test_go_to_their_host_when_there_is_no_room(self, order_machine):
        job = order_machine("web1", disk_gib=10)
        assert [disk.pool for disk in job.machine.disks.all()] == ["local"]
        assert job.status == "QUEUED"

    def test_go_to_their_host_unless_staff_wants_otherwise(self, order_machine, settings):
        settings.WEBXEN_NEW_DISKS = "LOCAL"
        job = order_machine("web1", disk_gib=2)
        assert [disk.pool for disk in job.machine.disks.all()] == ["local"]

    def test_of_a_machine_that_waits_go_there_once_a_host_has_room(self, order_machine):
        Host.objects.update(state=Host.State.DRAINING)
        job = order_machine("web1", disk_gib=2)
        assert job.status == "PENDING"
        assert Machine.objects.get().disks.get().pool == "local"
        Host.objects.update(state=Host.State.ACTIVE)
        again = order_machine("web2", disk_gib=2)
        assert again.machine.disks.get().pool == "shared"


def test_the_setting_is_read_with_care(monkeypatch):
    from webxen import env

    monkeypatch.setenv("WEBXEN_NEW_DISKS", "shared")
    with pytest.raises(env.SettingError, match="use LOCAL or SHARED"):
        env.choice("WEBXEN_NEW_DISKS", "LOCAL", ("LOCAL", "SHARED"))


def test_charlie_sees_no_pool(charlie, xen1):
    assert not queries.pools_visible_to(user=charlie).exists()
