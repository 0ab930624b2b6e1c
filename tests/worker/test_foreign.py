"""Addresses of domains somebody made by hand: read from `xl list -l`, and only when it may have changed."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.test_observe import Clock, Xen
from tests.worker.worker_host import WorkerHost
from worker.contract import AddressSeen, DomainSeen
from worker.job.quiet import QuietPeriod
from worker.observe import foreign, observer
from worker.observe.foreign import Foreign
from worker.xen.xl_output import parse_configs

CAPTURED = Path(__file__).parent / "captured" / "xl-list-l-4.20.json"
OURS = "1b4e28ba-2fa1-4d2b-883f-0016d3cca427"
MAIL = "5aab62ea-1ad8-5083-a410-08c2524ea6ae"


def seen(uuid: str, domid: int) -> DomainSeen:
    return DomainSeen("x", uuid, domid, "RUNNING", 128, 1)


def nics(*found: Any) -> dict[str, Any]:
    return {"c_info": {}, "nics": list(found)}


class TestForeign:
    def test_reads_what_xen_prints(self) -> None:
        xen = Xen(written=parse_configs(CAPTURED.read_text()))
        first = next(iter(xen.written))
        domains = (seen(OURS, first), seen(MAIL, 8))
        assert Foreign(xen).addresses(domains, (OURS,)) == (AddressSeen(MAIL, "xenbr0", "10.0.2.102"),)

    @pytest.mark.parametrize(
        ("config", "found"),
        [
            (nics({"ip": "10.0.2.9"}), [("", "10.0.2.9")]),
            (
                nics({"ip": "10.0.2.9/24 10.0.3.9", "bridge": "br1"}),
                [("br1", "10.0.2.9"), ("br1", "10.0.3.9")],
            ),
            (nics({"bridge": "br1"}), []),
            (nics({"ip": ""}), []),
            (nics({"ip": 7}, "x", None, {"ip": "fe80::1", "bridge": 3}), [("", "fe80::1")]),
            ({"nics": "x"}, []),
            ({}, []),
        ],
    )
    def test_reads_every_kind_of_card(self, config: dict[str, Any], found: list[tuple[str, str]]) -> None:
        told = Foreign(Xen(written={8: config})).addresses((seen(MAIL, 8),), ())
        assert [(one.bridge, one.ipv4) for one in told] == found

    def test_a_host_without_any_is_not_asked(self) -> None:
        xen = Xen()
        assert Foreign(xen).addresses((seen(OURS, 3),), (OURS,)) == ()
        assert xen.asked == []

    def test_is_asked_when_one_comes_or_goes_and_every_ten_minutes(self) -> None:
        xen, clock = Xen(written={8: nics({"ip": "10.0.2.9"})}), Clock()
        reading = Foreign(xen, clock=clock)
        for _ in range(3):
            assert len(reading.addresses((seen(MAIL, 8),), ())) == 1
        assert xen.asked == ["list -l"]
        clock.now += foreign.CONFIGS_SECONDS
        reading.addresses((seen(MAIL, 8),), ())
        reading.addresses((seen(MAIL, 9),), ())
        assert xen.asked == ["list -l"] * 3
        assert reading.addresses((), ()) == ()

    def test_what_cannot_be_read_is_told_as_it_was(self) -> None:
        xen, clock = Xen(written={8: nics({"ip": "10.0.2.9"})}), Clock()
        reading = Foreign(xen, clock=clock)
        told = reading.addresses((seen(MAIL, 8),), ())
        xen.is_broken = True
        assert reading.addresses(None, ()) == told
        assert reading.addresses((seen(MAIL, 8), seen(MAIL, 9)), ()) == told
        reading.addresses((seen(MAIL, 8), seen(MAIL, 9)), ())
        assert xen.asked == ["list -l"] * 2
        clock.now += foreign.RETRY_SECONDS
        xen.is_broken = False
        assert len(reading.addresses((seen(MAIL, 8), seen(MAIL, 9)), ())) == 1

    def test_waits_while_a_guest_boots(self) -> None:
        xen, quiet = Xen(written={8: nics({"ip": "10.0.2.9"})}), QuietPeriod(linger_seconds=0)
        reading = Foreign(xen, quiet=quiet)
        with quiet.hold():
            assert reading.addresses((seen(MAIL, 8),), ()) == ()
        assert len(reading.addresses((seen(MAIL, 8),), ())) == 1


def test_a_domain_made_by_hand_is_told_with_its_address(worker_host: WorkerHost) -> None:
    path = worker_host.settings.state_dir / "mail.cfg"
    path.write_text(
        f"name='mail'\nuuid='{MAIL}'\ntype='pvh'\nmemory=64\nkernel='{worker_host.settings.kernels_dir}/vmlinuz'\n"
        "vif=['mac=00:16:3e:00:00:77,bridge=xenbr0,ip=10.0.2.77']\n"
    )
    dom0 = worker_host.dom0()
    dom0.xl.create(path)
    told = observer.gather(worker_host.settings, dom0.xl).holdings
    assert told is not None
    assert told.addresses == (AddressSeen(MAIL, "xenbr0", "10.0.2.77"),)
