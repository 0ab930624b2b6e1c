"""Calling xl: the stand-in programs answer, and every failure has its name."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.fakexl import Settings, StandIn
from tests.worker.worker_host import run
from worker.xen import xl

UUID = "0199a1e7-2e4a-4a2a-a363-405d99723003"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[StandIn]:
    host = StandIn.at(
        tmp_path, Settings(boot_seconds=0.05, shutdown_seconds=0.05, total_memory_mib=2048, bridges="xenbr0")
    )
    yield host
    host.power_off()


@pytest.fixture
def program(host: StandIn) -> xl.Xl:
    return xl.Xl(host.xl)


def write_cfg(host: StandIn, name: str = "web", uuid: str = UUID, **values: str) -> Path:
    disk, kernel = host.directory / f"{name}.img", host.directory / "vmlinux"
    disk.touch()
    kernel.touch()
    keys = {
        "name": f"'{name}'",
        "uuid": f"'{uuid}'",
        "type": "'pvh'",
        "memory": "128",
        "kernel": f"'{kernel}'",
        "disk": f"['format=raw,vdev=xvda,access=rw,target={disk}']",
        "vif": "['mac=00:16:3e:00:00:01,bridge=xenbr0']",
        **values,
    }
    path = host.directory / f"{name}.cfg"
    path.write_text("".join(f"{key} = {value}\n" for key, value in keys.items()))
    return path


class TestLife:
    def test_a_domain_is_made_seen_and_destroyed(self, host: StandIn, program: xl.Xl) -> None:
        program.create(write_cfg(host))
        domain = program.domain(UUID)
        assert domain is not None
        assert (domain.name, domain.power, domain.memory_mib) == ("web", "RUNNING", 128)
        assert program.configs()[domain.domid]["c_info"]["uuid"] == UUID
        program.destroy(domain.domid)
        assert program.domains() == ()

    def test_unpausing(self, host: StandIn, program: xl.Xl) -> None:
        program.create(write_cfg(host))
        domid = program.domains()[0].domid
        run(host.xl, "pause", str(domid))
        assert program.domains()[0].power == "PAUSED"
        program.unpause(domid)
        assert program.domains()[0].power == "RUNNING"

    def test_memory_is_counted(self, host: StandIn, program: xl.Xl) -> None:
        before = int(program.info()["free_memory"])
        program.create(write_cfg(host))
        assert before - int(program.info()["free_memory"]) >= 128


class TestFailures:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ({"memory": "9999"}, xl.NoMemory),
            ({"kernel": "'/nowhere/vmlinux'"}, xl.KernelMissing),
            ({"disk": "['format=raw,vdev=xvda,access=rw,target=/nowhere.img']"}, xl.DiskMissing),
            ({"vif": "['bridge=nosuch']"}, xl.BridgeMissing),
            ({"name": "'a' 'b'"}, xl.BadDomainConfig),
            ({"name": "''"}, xl.BadDomainConfig),
            ({"type": "'vmware'"}, xl.BadDomainConfig),
        ],
    )
    def test_a_create_that_cannot_work(
        self, host: StandIn, program: xl.Xl, values: dict[str, str], kind: type[xl.XlError]
    ) -> None:
        with pytest.raises(kind):
            program.create(write_cfg(host, **values))
        assert program.domains() == ()
        assert host.runs() == []

    def test_a_name_that_is_taken(self, host: StandIn, program: xl.Xl) -> None:
        program.create(write_cfg(host))
        with pytest.raises(xl.DomainExists):
            program.create(write_cfg(host, uuid="0199a1e7-2e4a-4a2a-a363-000000000000"))

    def test_a_disk_that_another_domain_writes_to(self, host: StandIn, program: xl.Xl) -> None:
        program.create(write_cfg(host))
        disk = f"['format=raw,vdev=xvda,access=rw,target={host.directory}/web.img']"
        with pytest.raises(xl.DiskMissing):
            program.create(write_cfg(host, "thief", "0199a1e7-2e4a-4a2a-a363-000000000000", disk=disk))

    @pytest.mark.parametrize("verb", ["destroy", "shutdown", "reboot", "unpause"])
    def test_a_domid_that_is_not_there(self, program: xl.Xl, verb: str) -> None:
        with pytest.raises(xl.NoSuchDomain):
            getattr(program, verb)(77)

    @pytest.mark.parametrize("verb", ["destroy", "shutdown", "reboot", "unpause"])
    def test_domain_0_is_never_touched(self, host: StandIn, program: xl.Xl, verb: str) -> None:
        host.lay_out(**{verb: {"exit": 0}})
        with pytest.raises(xl.NoSuchDomain, match="left alone"):
            getattr(program, verb)(0)

    def test_a_stuck_xl_is_ended_at_the_deadline(self, host: StandIn, program: xl.Xl) -> None:
        host.lay_out(create={"hang": True})
        began = time.monotonic()
        with pytest.raises(xl.XlTimedOut):
            program.create(write_cfg(host), timeout_seconds=1.5)
        assert time.monotonic() - began < 5

    @pytest.mark.parametrize("fault", [{"empty": True}, {"cut_at": 200}, {"columns": 5}, {"columns": 7}])
    def test_a_garbled_list_is_unreadable(
        self, host: StandIn, program: xl.Xl, fault: dict[str, object]
    ) -> None:
        program.create(write_cfg(host))
        host.lay_out(list=fault)
        with pytest.raises(xl.Unreadable):
            program.domains()

    def test_a_list_that_is_unreadable_for_a_moment_is_asked_for_again(
        self, host: StandIn, program: xl.Xl
    ) -> None:
        program.create(write_cfg(host))
        host.lay_out(list={"null_name": True, "times": xl.LOOKS - 1})
        (domain,) = program.domains()
        assert domain.power == "RUNNING"

    def test_a_domain_that_stays_half_made_is_listed_without_a_name(
        self, host: StandIn, program: xl.Xl
    ) -> None:
        program.create(write_cfg(host))
        host.lay_out(list={"null_name": True})
        (domain,) = program.domains()
        assert (domain.name, domain.power) == ("", "UNKNOWN")

    def test_a_full_disk_says_so(self, host: StandIn, program: xl.Xl) -> None:
        host.lay_out(create={"exit": 1, "stderr": "libxl: error: write: No space left on device\n"})
        with pytest.raises(xl.XlFailed, match="No space left on device"):
            program.create(write_cfg(host))
