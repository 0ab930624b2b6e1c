"""A domain's life, command by command: what is listed, what the console says, when the name is free."""

import contextlib
import json
import re
import time
from pathlib import Path

import pytest

from tests.contract.xl.place import Place, listed, wait_until_gone, write_cfg
from worker.xen import xl

CAPTURED = Path(__file__).parents[2] / "worker/captured"
PVH = "c7000000-0000-4000-8000-00000000000a"
PV = "c7000000-0000-4000-8000-00000000000b"
#: the lab may have to be booted first, and a guest under emulation takes its time
pytestmark = pytest.mark.timeout(1200)
LOGIN = [("", "login: "), ("root\r", "# ")]
ASK = [("echo web''xen $((40+2))\r", "webxen 42\r\n"), ("cat /sys/hypervisor/type\r", "xen\r\n")]


def look(place: Place, uuid: str) -> xl.Domain:
    domains = xl.parse_list(place.xl("list", "-v").text)
    return next(domain for domain in domains if domain.uuid == uuid)


def tty_of(place: Place, domid: int) -> str:
    return place.xenstore("read", f"/local/domain/{domid}/console/tty").text.strip()


def start(place: Place, name: str, uuid: str, virt_type: str) -> xl.Domain:
    disk = f"['format=raw,vdev=xvda,access=rw,target={place.disk(name)}']"
    cfg = write_cfg(place, name, uuid, type=f"'{virt_type}'", disk=disk)
    result = place.xl("create", cfg)
    assert result.rc == 0, result.error_text
    assert (result.text, result.error_text) == ("", f"Parsing config from {cfg}\n")
    return look(place, uuid)


class TestHost:
    def test_info_has_the_keys_of_the_real_one(self, place: Place) -> None:
        real = xl.parse_info((CAPTURED / "xl-info-4.20.txt").read_text())
        assert list(xl.parse_info(place.xl("info").text)) == list(real)

    def test_lists_have_the_shape_of_the_real_one(self, place: Place) -> None:
        for flags, captured in ((), "xl-list-4.20.txt"), (("-v",), "xl-list-v-4.20.txt"):
            heading, dom0 = place.xl("list", *flags).text.splitlines()[:2]
            real_heading, real_dom0 = (CAPTURED / captured).read_text().splitlines()[:2]
            assert heading == real_heading
            assert len(dom0) == len(real_dom0)
            assert re.sub(r"\d", "9", dom0[60:72]) == re.sub(r"\d", "9", real_dom0[60:72])


class TestPvh:
    def test_a_life(self, place: Place) -> None:
        domain = start(place, "ct-pvh", PVH, "pvh")
        assert (domain.name, domain.memory_mib, domain.vcpus, domain.power) == (
            *("ct-pvh", 128, 1, "RUNNING"),
        )
        self.names_and_config(place, domain)
        self.pausing(place, domain)
        self.same_name_again(place)
        place.sit(tty_of(place, domain.domid), LOGIN + ASK)
        domain = self.reboot(place, domain)
        place.sit(tty_of(place, domain.domid), LOGIN)
        self.shutdown(place, domain)

    def names_and_config(self, place: Place, domain: xl.Domain) -> None:
        assert place.xl("domid", "ct-pvh").text == f"{domain.domid}\n"
        assert place.xl("domname", str(domain.domid)).text == "ct-pvh\n"
        config = xl.parse_configs(place.xl("list", "-l").text)[domain.domid]
        real = json.loads((CAPTURED / "xl-list-l-4.20.json").read_text())
        real_config = next(entry["config"] for entry in real if entry["config"]["c_info"]["type"] == "pvh")
        assert set(config["c_info"]) == set(real_config["c_info"])
        assert set(config["disks"][0]) == set(real_config["disks"][0])
        assert (config["c_info"]["uuid"], config["c_info"]["type"]) == (PVH, "pvh")
        assert config["b_info"]["max_memkb"] == 128 * 1024
        home = f"/local/domain/{domain.domid}"
        assert place.xenstore("read", f"{home}/vm").text == f"/vm/{PVH}\n"
        assert place.xenstore("read", f"{home}/name").text == "ct-pvh\n"
        assert str(domain.domid) in place.xenstore("list", "/local/domain").text.split()
        assert re.fullmatch(r"/dev/pts/\d+", tty_of(place, domain.domid))

    def pausing(self, place: Place, domain: xl.Domain) -> None:
        # Xen counts pauses.
        for verb, power in (
            *(("pause", "PAUSED"), ("pause", "PAUSED"), ("unpause", "PAUSED"), ("unpause", "RUNNING")),
        ):
            result = place.xl(verb, str(domain.domid))
            assert (result.rc, result.text, result.error_text) == (0, "", "")
            assert look(place, PVH).power == power
        once_more = place.xl("unpause", str(domain.domid))
        assert once_more.rc == 0
        assert once_more.error_text.endswith("Unpausing domain: Invalid argument\n")

    def same_name_again(self, place: Place) -> None:
        cfg = write_cfg(place, "ct-pvh", PV)
        result = place.xl("create", cfg)
        assert result.rc == 3
        assert type(xl.failure("create", result.rc, result.error_text)) is xl.DomainExists
        assert listed(place).count("ct-pvh") == 1

    def reboot(self, place: Place, domain: xl.Domain) -> xl.Domain:
        result = place.xl("reboot", str(domain.domid))
        assert (result.rc, result.text, result.error_text) == (0, "", f"Rebooting domain {domain.domid}\n")
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            found = []
            # for a moment the new domain has no name, and the list counts as unreadable
            with contextlib.suppress(xl.Unreadable):
                found = [seen for seen in xl.parse_list(place.xl("list", "-v").text) if seen.uuid == PVH]
            if found and found[0].domid > domain.domid and tty_of(place, found[0].domid):
                return found[0]
            time.sleep(0.3)
        raise AssertionError("the domain did not come back")

    def shutdown(self, place: Place, domain: xl.Domain) -> None:
        result = place.xl("shutdown", str(domain.domid))
        assert (result.rc, result.text) == (0, "")
        assert result.error_text == f"Shutting down domain {domain.domid}\n"
        wait_until_gone(place, "ct-pvh")
        assert place.xl("list", "ct-pvh").rc == 1


class TestPv:
    @pytest.mark.parametrize("end", ["poweroff", "destroy"])
    def test_a_life(self, place: Place, end: str) -> None:
        domain = start(place, "ct-pv", PV, "pv")
        assert xl.parse_configs(place.xl("list", "-l").text)[domain.domid]["c_info"]["type"] == "pv"
        if end == "poweroff":
            place.sit(tty_of(place, domain.domid), [*LOGIN, *ASK, ("poweroff\r", "ower")])
        else:
            result = place.xl("destroy", str(domain.domid))
            assert (result.rc, result.text) == (0, "")
        wait_until_gone(place, "ct-pv")
        assert place.xenstore("read", f"/local/domain/{domain.domid}/vm").rc == 1
