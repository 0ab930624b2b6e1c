"""Hosts, their memory, and the addresses given out."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from tests.fixtures import observe, public_pem
from webxen.core.errors import NotFoundError
from webxen.inventory import operations, queries
from webxen.inventory.facts import in_order
from webxen.inventory.models import Address, Host, Pool
from worker import contract


def seen(uuid, memory_mib):
    return contract.DomainSeen(
        domain="d", uuid=uuid, domid=1, power="RUNNING", memory_mib=memory_mib, vcpus=1
    )


class TestObservation:
    def test_keeps_every_fact(self, xen1):
        # neither the envelope nor PostgreSQL keeps an order: facts.in_order brings xl's own back
        assert [name for name, _ in in_order(xen1.facts)][:3] == ["host", "release", "nr_cpus"]
        assert xen1.bridges == ["xenbr0"]
        assert xen1.images == {"minimal-1.ext4": "0" * 64}
        assert Pool.objects.get().free_mib == 200 * 1024
        assert xen1.domains == []

    def test_memory_for_machines_is_free_plus_what_ours_hold(self, xen1, web1):
        observe(xen1, domains=(seen(str(web1.id), 256), seen(str(uuid4()), 1000)), free_memory="1000")
        assert xen1.memory_mib == 1256

    def test_a_host_that_shrank_keeps_its_promises(self, xen1, web1):
        observe(xen1, free_memory="100")
        assert (xen1.memory_mib, xen1.memory_reserved_mib) == (256, 256)

    def test_an_unreadable_list_of_domains_leaves_memory_alone(self, xen1):
        observe(xen1, domains=None, free_memory="1")
        assert xen1.domains is None
        assert xen1.memory_mib == 8192

    @pytest.mark.parametrize("free", ["", "-1", "1e3", "9" * 30, "١٢"])
    def test_nonsense_about_memory_is_not_believed(self, xen1, free):
        observe(xen1, free_memory=free)
        assert xen1.memory_mib == 8192

    def test_a_pool_that_went_away_goes(self, xen1, now):
        operations.record_observation(
            host=xen1,
            observation=contract.Observation(
                host="xen1", facts={}, pools=(contract.PoolSeen("vg", "LVM", 10, 5),), bridges=(), domains=()
            ),
            ours=(),
            now=now,
        )
        assert [pool.name for pool in Pool.objects.all()] == ["vg"]

    def test_a_quiet_host_is_silent(self, xen1, now):
        assert not queries.is_silent(host=xen1, now=now + timedelta(seconds=30))
        assert queries.is_silent(host=xen1, now=now + timedelta(seconds=31))


class TestHosts:
    def test_only_staff_sees_hosts_and_pools(self, alice, charlie, dana, xen1):
        for person in (alice, charlie):
            assert not queries.hosts_visible_to(user=person).exists()
            assert not queries.pools_visible_to(user=person).exists()
            with pytest.raises(NotFoundError):
                queries.get_visible_host(user=person, id=xen1.id)
        assert queries.get_visible_host(user=dana, id=xen1.id) == xen1

    def test_dana_drains_and_brings_back(self, dana, xen1, now):
        assert operations.drain_host(staff=dana, host_id=xen1.id, now=now).state == Host.State.DRAINING
        assert not queries.figures(now=now)[0].is_active
        assert operations.activate_host(staff=dana, host_id=xen1.id, now=now).state == Host.State.ACTIVE

    def test_alice_and_charlie_cannot_drain(self, alice, charlie, xen1, now):
        for person in (alice, charlie):
            with pytest.raises(NotFoundError):
                operations.drain_host(staff=person, host_id=xen1.id, now=now)
        xen1.refresh_from_db()
        assert xen1.state == Host.State.ACTIVE

    def test_accepting_twice_is_harmless(self, xen1, xen1_key, now):
        again = operations.accept_host(name="xen1", public_key=public_pem(xen1_key), now=now)
        assert again == xen1
        assert Host.objects.count() == 1

    def test_command_accepts_a_key_file(self, db, xen1_key, tmp_path):
        key = tmp_path / "host.pub"
        key.write_text(public_pem(xen1_key))
        call_command("accept_host", "xen7", key_file=key)
        assert Host.objects.get().name == "xen7"

    @pytest.mark.parametrize(
        "text", ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
    )
    def test_command_refuses_what_is_no_key(self, db, tmp_path, text):
        key = tmp_path / "host.pub"
        key.write_text(text)
        with pytest.raises(CommandError):
            call_command("accept_host", "xen7", key_file=key)
        assert not Host.objects.exists()


class TestHostMemory:
    def test_is_promised_until_it_is_used_up(self, xen1, now, settings):
        settings.WEBXEN_HOST_RESERVE_MIB = 192
        assert operations.reserve_host_memory(host_id=xen1.id, memory_mib=8000, now=now)
        assert not operations.reserve_host_memory(host_id=xen1.id, memory_mib=1, now=now)
        operations.release_host_memory(host_id=xen1.id, memory_mib=8000, now=now)
        assert operations.reserve_host_memory(host_id=xen1.id, memory_mib=8000, now=now)

    def test_the_database_refuses_a_broken_promise(self, xen1):
        with pytest.raises(IntegrityError, match="promises_no_more"), transaction.atomic():
            Host.objects.filter(id=xen1.id).update(memory_reserved_mib=8193)

    def test_a_host_never_heard_of_promises_nothing(self, xen1_key, db, now):
        host = operations.accept_host(name="xen9", public_key=public_pem(xen1_key), now=now)
        assert not operations.reserve_host_memory(host_id=host.id, memory_mib=1, now=now)


class TestAddresses:
    def test_gives_the_lowest_free_one(self, lan, now):
        first = operations.give_address(network=lan, holder=uuid4(), now=now)
        second = operations.give_address(network=lan, holder=uuid4(), now=now)
        assert (first.ipv4, second.ipv4) == ("10.0.2.100", "10.0.2.101")
        assert first.mac.startswith("00:16:3e:")
        operations.release_addresses(holder=first.holder, now=now)
        assert operations.give_address(network=lan, holder=uuid4(), now=now).ipv4 == "10.0.2.100"

    def test_gives_none_that_a_foreign_domain_on_the_bridge_is_configured_with(self, xen1, lan, now):
        seen = (
            contract.AddressSeen("mail", "xenbr0", "10.0.2.100"),
            contract.AddressSeen("other", "xenbr9", "10.0.2.101"),
            contract.AddressSeen("odd", "", "10.0.2.102"),
        )
        said = contract.Observation("xen1", {}, (), (), (), holdings=contract.Holdings(addresses=seen))
        operations.record_observation(host=xen1, observation=said, ours=(), now=now)
        given = [operations.give_address(network=lan, holder=uuid4(), now=now).ipv4 for _ in range(2)]
        # another bridge is another network
        assert given == ["10.0.2.101", "10.0.2.103"]

    def test_says_when_the_range_is_used_up(self, lan, now):
        lan.last = "10.0.2.100"
        lan.save()
        operations.give_address(network=lan, holder=uuid4(), now=now)
        with pytest.raises(operations.NoAddressError, match="lan has no free address"):
            operations.give_address(network=lan, holder=uuid4(), now=now)

    def test_never_gives_away_the_gateway(self, lan, now):
        lan.first, lan.last = "10.0.2.2", "10.0.2.4"
        lan.save()
        assert operations.give_address(network=lan, holder=uuid4(), now=now).ipv4 == "10.0.2.4"

    def test_the_database_gives_an_address_once(self, lan):
        Address.objects.create(network=lan, ipv4="10.0.2.100", mac="00:16:3e:00:00:01", holder=uuid4())
        with pytest.raises(IntegrityError), transaction.atomic():
            Address.objects.create(network=lan, ipv4="10.0.2.100", mac="00:16:3e:00:00:02", holder=uuid4())
