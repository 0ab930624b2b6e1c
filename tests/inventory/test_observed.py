"""What a host says makes that host look odd and nothing else: bounded, cleaned, and in its own rows alone."""

import dataclasses
import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures import observe, public_pem
from webxen.inventory import observed, operations, queries
from webxen.inventory.models import Host, Pool
from webxen.jobs import observing
from worker import contract

UUID = "0f0f0f0f-1111-2222-3333-444444444444"
NASTY = ("a\x00b", "lone \ud800", "\udfff", "\x1b[31mred\x9b0m", "\u202eflipped", "x" * 5000, "", "\x7f")
NUMBERS = (-(2**70), -1, 0, 2**31, 2**63, 2**70)


def said(host="xen1", **changed):
    usual = {"facts": {"free_memory": "8192"}, "pools": (), "bridges": ("xenbr0",), "domains": ()}
    return contract.Observation(host=host, **(usual | changed))


def pool(name="local", total=10, free=5, **changed):
    return contract.PoolSeen(name, "FILE", total, free, **changed)


def domain(name="db", uuid=UUID, **changed):
    usual = {"domid": 3, "power": "RUNNING", "memory_mib": 128, "vcpus": 1}
    return contract.DomainSeen(name, uuid, **(usual | changed))


@pytest.fixture
def xen2(xen1, xen1_key, now):
    host = operations.accept_host(name="xen2", public_key=public_pem(xen1_key), now=now)
    observe(host)
    return host


def tell(host, now, **changed):
    seen = said(host.name, **changed)
    observing.apply_observation(host=host, observation=seen, now=now)
    host.refresh_from_db()


class TestFit:
    @pytest.mark.parametrize(
        ("part", "many"),
        [
            ("pools", tuple(pool(f"p{n}") for n in range(9000))),
            ("bridges", tuple(f"b{n}" for n in range(9000))),
            ("domains", (domain(),) * 9000),
            ("kernels", tuple(f"k{n}" for n in range(9000))),
            ("portal_keys", tuple(f"k{n}" for n in range(9000))),
        ],
    )
    def test_lists_are_cut_and_what_was_cut_is_counted(self, part, many):
        fitted = observed.fit(said(**{part: many}))
        assert len(getattr(fitted.observation, part)) == observed.MOST[part]
        assert fitted.left_out == {part: 9000 - observed.MOST[part]}

    @pytest.mark.parametrize("part", ["facts", "images"])
    def test_tables_too(self, part):
        fitted = observed.fit(said(**{part: {f"k{n}": "v" for n in range(9000)}}))
        assert len(getattr(fitted.observation, part)) == observed.MOST[part]
        assert fitted.left_out == {part: 9000 - observed.MOST[part]}

    def test_holdings_that_were_cut_say_so(self):
        volumes = (contract.VolumeSeen(UUID, "root", "local", 2**70),) * 9000
        fences, jobs = (contract.FenceSeen(UUID, 2**70),) * 9000, (contract.JobSeen(UUID, UUID),) * 9000
        machines = tuple(str(n) for n in range(9000))
        told = contract.Holdings(volumes, ("local",), machines, fences, jobs)
        kept = observed.fit(said(holdings=told)).observation.holdings
        assert kept.is_cut
        assert [len(part) for part in (kept.volumes, kept.fences, kept.jobs, kept.machines)] == [
            observed.MOST[part] for part in ("volumes", "fences", "jobs", "machines")
        ]
        assert (kept.volumes[0].size_mib, kept.fences[0].fence) == (observed.MAX_POOL_MIB, observed.MAX_FENCE)

    @pytest.mark.parametrize("name", NASTY)
    def test_a_name_that_cannot_be_kept_is_left_out_and_not_changed_into_anothers(self, name):
        fitted = observed.fit(
            said(
                pools=(pool(name), pool("local")),
                bridges=(name, "xenbr0"),
                kernels=(name, "vmlinuz"),
                images={name: "0", "a.ext4": "1"},
                facts={name: "x", "host": name},
            )
        )
        kept = fitted.observation
        assert [one.name for one in kept.pools] == ["local"]
        assert (kept.bridges, kept.kernels, list(kept.images)) == (("xenbr0",), ("vmlinuz",), ["a.ext4"])
        assert list(kept.facts) == ["host"]
        assert fitted.left_out == dict.fromkeys(("bridges", "facts", "images", "kernels", "pools"), 1)

    def test_of_two_of_one_name_the_first_counts(self):
        fitted = observed.fit(said(pools=(pool(free=1), pool(free=2)), bridges=("b", "b")))
        assert [one.free_mib for one in fitted.observation.pools] == [1]
        assert fitted.left_out == {"bridges": 1, "pools": 1}

    @pytest.mark.parametrize("number", NUMBERS)
    def test_numbers_fit_their_columns(self, number):
        odd = domain(domid=number, memory_mib=number, vcpus=number)
        kept = observed.fit(said(pools=(pool(total=number, free=number),), domains=(odd,))).observation
        assert 0 <= kept.pools[0].free_mib <= kept.pools[0].total_mib <= observed.MAX_POOL_MIB
        assert all(0 <= value < 2**31 for value in (kept.domains[0].domid, kept.domains[0].memory_mib))

    @pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -float("inf"), -1.0, 1e300])
    def test_seconds_are_finite(self, seconds):
        (kept,) = observed.fit(said(domains=(domain(cpu_seconds=seconds),))).observation.domains
        assert 0 <= kept.cpu_seconds <= observed.MAX_CPU_SECONDS

    def test_a_pool_has_no_more_free_than_it_is_large(self):
        (kept,) = observed.fit(said(pools=(pool(total=10, free=1 << 39),))).observation.pools
        assert (kept.total_mib, kept.free_mib) == (10, 10)

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=200), st.text(max_size=50))
    def test_any_text_can_be_sent_and_holds_no_control_character(self, name, other):
        kept = observed.fit(
            said(
                facts={name: other, other: name},
                bridges=(name,),
                domains=(domain(name, other),),
                worker_version=name,
                relay_certificate=other,
                relay_address=name,
                images={name: other},
            )
        ).observation
        text = json.dumps(dataclasses.asdict(kept), ensure_ascii=False)
        assert text.encode()
        assert not any(
            ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in json.loads(text)["worker_version"]
        )

    def test_what_any_host_says_is_kept_whole(self):
        fitted = observed.fit(
            said(
                pools=(contract.PoolSeen("vg0", "LVM", 10, 5, id="Pd4Mrl", is_shared=True),),
                domains=(domain("почтовый сервер"), domain("", uuid=UUID, domid=9)),
                relay_address="10.0.9.1",
                kernels=("vmlinuz",),
            )
        )
        assert fitted.left_out == {}
        assert fitted.observation.domains[0].domain == "почтовый сервер"


class TestRelayAddress:
    @pytest.mark.parametrize("address", ["10.0.9.1", "192.0.2.7", "fd00::7", "2001:db8::1"])
    def test_of_another_host_is_believed(self, address):
        assert observed.is_relay(address)

    @pytest.mark.parametrize(
        "address",
        [
            *("", "xen1", "xen1.example.org", "10.0.0.1:22", "10.0.0.1/8", "010.0.0.1", "1", "0x7f.1"),
            *("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "255.255.255.255"),
            *(
                "224.0.0.1",
                "ff02::1",
                "169.254.169.254",
                "fe80::1",
                "fe80::1%eth0",
                "fd00::7%eth0",
                "240.0.0.1",
            ),
        ],
    )
    def test_that_is_none_or_means_somebody_else_is_not(self, address):
        assert not observed.is_relay(address)

    def test_is_believed_only_in_the_networks_that_staff_names(self):
        networks = ["10.0.9.0/24", "127.0.0.0/8"]
        assert observed.is_relay("10.0.9.1", networks)
        assert observed.is_relay("127.0.0.1", networks)
        assert not observed.is_relay("10.0.8.1", networks)
        assert not observed.is_relay("fd00::7", networks)

    def test_that_is_not_believed_is_not_kept_and_the_host_is_odd(self, xen1, now, settings):
        tell(xen1, now, relay_address="169.254.169.254", relay_certificate="PEM")
        assert (xen1.relay_address, xen1.left_out) == ("", {"relay": 1})
        settings.WEBXEN_RELAY_NETWORKS = ["10.0.9.0/24"]
        tell(xen1, now, relay_address="10.0.9.1")
        assert (xen1.relay_address, xen1.left_out) == ("10.0.9.1", {})


class TestRecording:
    def test_nine_thousand_pools_cost_a_few_queries(self, xen1, now):
        pools = tuple(pool(f"p{n}", id=f"id{n}", is_shared=True) for n in range(9000))
        with CaptureQueriesContext(
            connection,
        ) as asked:
            tell(xen1, now, pools=pools)
        assert len(asked) < 30
        assert Pool.objects.filter(host=xen1).count() == observed.MOST["pools"]
        assert xen1.left_out == {"pools": 9000 - observed.MOST["pools"]}

    def test_what_has_not_changed_is_not_written_again(self, xen1, now):
        tell(xen1, now, pools=(pool(), pool("b")))
        before = set(Pool.objects.filter(host=xen1).values_list("id", flat=True))
        with CaptureQueriesContext(connection) as asked:
            tell(xen1, now, pools=(pool(), pool("b")))
        assert not [
            one for one in asked if "inventory_pool" in one["sql"] and not one["sql"].startswith("SELECT")
        ]
        tell(xen1, now, pools=(pool(free=1), pool("b")))
        assert set(Pool.objects.filter(host=xen1).values_list("id", flat=True)) == before
        assert Pool.objects.get(host=xen1, name="local").free_mib == 1
        tell(xen1, now, pools=())
        assert not Pool.objects.filter(host=xen1).exists()

    def test_a_host_that_is_well_again_is_odd_no_more(self, xen1, now):
        tell(xen1, now, bridges=("\x00",))
        assert xen1.left_out == {"bridges": 1}
        tell(xen1, now)
        assert xen1.left_out == {}

    @pytest.mark.parametrize("text", NASTY)
    def test_nasty_words_are_kept_clean_before_and_after_a_host_is_accepted(self, xen1, now, text):
        for state in (Host.State.NEW, Host.State.ACTIVE):
            Host.objects.filter(id=xen1.id).update(state=state)
            xen1.refresh_from_db()
            tell(
                xen1,
                now,
                facts={"host": text, text: "x", "free_memory": text},
                pools=(pool(text), pool("vg", id=text)),
                bridges=(text,),
                domains=(domain(text, text, cpu_seconds=float("nan")),),
                images={text: text},
                kernels=(text,),
                worker_version=text,
                portal_keys=(text,),
                relay_certificate=text,
                relay_address=text,
                holdings=contract.Holdings(
                    (contract.VolumeSeen(text, text, text, -1),),
                    (text,),
                    (text,),
                    jobs=(contract.JobSeen(text, text),),
                ),
            )
            assert text not in json.dumps(xen1.facts, ensure_ascii=False) or text == ""


class TestSharedPools:
    """Rule: a host's word counts for its own machines and its own rows."""

    def test_a_claim_on_anothers_ids_changes_nothing_of_it(self, xen1, xen2, now):
        tell(
            xen2, now, pools=(pool("san", 600_000, 500_000, id="san-id", is_shared=True), pool(id="local-id"))
        )
        before = list(Pool.objects.filter(host=xen2).values())
        for claimed in (True, False):
            tell(
                xen1,
                now,
                pools=(
                    pool("a", 0, 0, id="local-id", is_shared=claimed),
                    pool("b", 1 << 40, 1 << 40, id="san-id", is_shared=False),
                ),
            )
            assert list(Pool.objects.filter(host=xen2).values()) == before
            assert queries.shared_pools_of(host=xen2) == frozenset()
            assert queries.hosts_seeing(host=xen2, pool="local") == [xen2]
            assert {one.name: one.pools for one in queries.figures(now=now)}["xen2"] == {
                "san": 500_000,
                "local": 5,
            }

    def test_the_smallest_fresh_word_counts(self, xen1, xen2, now):
        tell(xen1, now, pools=(pool("san", 10, 4, id="s", is_shared=True),))
        tell(xen2, now, pools=(pool("san", 10, 9, id="s", is_shared=True),))
        assert [one.pools["san"] for one in queries.figures(now=now)] == [4, 4]
        later = now + timedelta(seconds=60)
        tell(xen2, later, pools=(pool("san", 10, 9, id="s", is_shared=True),))
        assert [one.pools["san"] for one in queries.figures(now=later)] == [4, 9]

    def test_ids_that_a_copied_host_has_too_make_no_shared_pool(self, xen1, xen2, now):
        for host in (xen1, xen2):
            tell(host, now, pools=(pool("vg0", id="copied"),))
        assert queries.ids_of_shared_pools() == frozenset()
