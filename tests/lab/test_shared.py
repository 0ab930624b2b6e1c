"""A group or an NFS export, two real dom0s: a machine is started by its lease's holder and by nobody else."""

import json
import shlex
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from devtools.lab import guests, lab
from devtools.lab.host import LabHost
from devtools.lab.services import environment
from tests.lab import nas
from worker import contract
from worker.contract import DiskSpec, ImageSpec, MachineSpec, SeedSpec

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(1500)]

DRIVER = Path(__file__).with_name("in_dom0.py")


class Dom0:
    """A dom0 of the lab without a portal: the worker's verbs, by hand."""

    def __init__(self, host: LabHost) -> None:
        self.host = host
        self.name = host.name
        #: a pool beside those that the lab has
        self.more: dict[str, str] = {}

    def prepare(self) -> None:
        self.host.push_worker()
        self.host.put_bytes(DRIVER.read_bytes(), "/root/in_dom0.py")
        self.host.configure({"WEBXEN_BROKER_URL": "unix:///nowhere", **self.host.pools()}, {})

    def say(self, what: str, **word: Any) -> dict[str, Any]:
        env = {**environment(self.name), **self.host.pools(), **self.more}
        line = shlex.join(["env", f"PYTHONPATH={env['PYTHONPATH']}", "python3", "/root/in_dom0.py"])
        text = json.dumps({"what": what, "env": env, **word}).encode()
        result = self.host.run(line, timeout_seconds=600, input_bytes=text, check=True)
        answer: dict[str, Any] = json.loads(result.text.splitlines()[-1])
        print(f"{self.name} {what} {word.get('function', '')}: {answer}")
        return answer

    def order(self, order: contract.Order) -> dict[str, Any]:
        return self.say("order", order=contract.encode(order))

    def lease(self, function: str, machine: MachineSpec, **values: Any) -> dict[str, Any]:
        return self.say("lease", function=function, machine=asdict(machine), values=values)

    def domains(self) -> str:
        return self.host.run(["xl", "list"], timeout_seconds=60, check=True).text

    def active(self) -> list[str]:
        line = "lvs --noheadings -o lv_name -S lv_active=active shared"
        return self.host.run(line, timeout_seconds=60, check=True).text.split()


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Dom0, Dom0]]:
    lab.install_missing()
    built = guests.build(print)
    hosts = [Dom0(host) for host in lab.up(hosts=2, say=print)]
    for dom0 in hosts:
        guests.install(dom0.host, [image for image in built if image.slug == "minimal"], print)
        dom0.prepare()
    hosts[0].host.share_pools()
    for dom0 in hosts:
        # an agent that runs would tell the ends of this driver's jobs, as those of a dead process
        dom0.host.stop_services()
    yield hosts[0], hosts[1]
    lab.down()


@pytest.fixture(params=["shared", "nas"])
def pool(request: pytest.FixtureRequest, two: tuple[Dom0, Dom0]) -> Iterator[str]:
    """A volume group on a LUN, and a directory over NFS: the same must hold."""
    name: str = request.param
    if name == "shared":
        yield name
        return
    with nas.served([dom0.host for dom0 in two]):
        for dom0 in two:
            dom0.more = {"WEBXEN_FILE_POOLS": f"nas={nas.DIRECTORY}"}
        two[0].say("share", pool=name)
        yield name
        for dom0 in two:
            dom0.more = {}


@pytest.fixture
def machine(pool: str) -> MachineSpec:
    image = next(image for image in guests.build(print) if image.slug == "minimal")
    spec = ImageSpec(
        file=image.file,
        sha256=image.sha256,
        format="FILESYSTEM",
        kernel=image.kernel,
        ramdisk=image.ramdisk,
    )
    machine_id = str(uuid.uuid4())
    return MachineSpec(
        id=machine_id,
        domain=f"shared-{machine_id[:8]}",
        vcpus=1,
        memory_mib=160,
        disks=(DiskSpec(str(uuid.uuid4()), pool, max(image.min_disk_mib, 64), "xvda"),),
        nics=(),
        image=spec,
    )


def order(verb: type[contract.Order], machine: MachineSpec, fence: int, **values: Any) -> contract.Order:
    made: Any = verb
    values = {"deadline_seconds": contract.VERBS[verb.kind].deadline_seconds, **values}
    return made(job_id=str(uuid.uuid4()), fence=fence, machine=machine, **values)


def test_a_machine_is_started_by_the_holder_of_its_lease_alone(
    two: tuple[Dom0, Dom0], pool: str, machine: MachineSpec
) -> None:
    xen1, xen2 = two
    seen = [dom0.say("probe", pool=pool) for dom0 in two]
    assert seen[0]["id"] == seen[1]["id"] != ""
    assert seen[0]["is_shared"] is seen[1]["is_shared"] is True

    made = xen1.order(
        order(contract.CreateMachine, machine, 1, seed=SeedSpec("shared"), deadline_seconds=500)
    )
    assert made["event"] == "SUCCEEDED", made
    volume = f"webxen-{machine.id}-{machine.disks[0].id}"
    if pool == "shared":
        assert volume in xen1.active()
        assert volume not in xen2.active()
    # machines of other tests may be in the pool, too
    shown = [f"{machine.id}/{machine.disks[0].id}" in dom0.say("probe", pool=pool)["volumes"] for dom0 in two]
    assert shown == [True, False]

    # It runs on xen1: xen2 is refused, with the evidence, and touches nothing.
    refused = xen2.order(order(contract.StartMachine, machine, 2, deadline_seconds=60))
    assert refused["error_code"] == "LEASE_HELD"
    assert "xen1 holds them with fence 1 since" in refused["error_message"]
    assert machine.domain not in xen2.domains()

    assert xen1.order(order(contract.PoweroffMachine, machine, 3))["event"] == "SUCCEEDED"
    assert (
        xen2.order(order(contract.StartMachine, machine, 4, deadline_seconds=60))["error_code"]
        == "LEASE_HELD"
    )

    # Handed over, as a move does it: offered, taken, let go.
    assert xen1.lease("offer", machine, fence=5, heir="xen2")["error_code"] == ""
    assert xen2.lease("make_visible", machine)["found"] is True
    assert xen2.lease("take", machine, fence=5)["error_code"] == ""
    assert xen1.lease("withdraw", machine)["error_code"] == "LEASE_HELD"
    assert xen1.lease("let_go", machine)["error_code"] == ""
    assert volume not in xen1.active()
    started = xen2.order(order(contract.StartMachine, machine, 6, deadline_seconds=300))
    assert started["event"] == "SUCCEEDED", started
    assert machine.domain in xen2.domains()

    # The first host is refused whatever it is told, with however new an order.
    for verb in (contract.StartMachine, contract.DeleteMachine):
        refused = xen1.order(order(verb, machine, 9, deadline_seconds=60))
        assert refused["error_code"] == "LEASE_HELD"
        assert "xen2 holds them with fence 6 since" in refused["error_message"]
    assert machine.domain not in xen1.domains()

    # A host that is proven to be off loses it, and cannot have it back by returning.
    taken = order(contract.StartMachine, machine, 10, deadline_seconds=300, takes_over_from="xen2")
    xen2.host.run(["xl", "destroy", machine.domain], check=True)
    assert xen1.order(taken)["event"] == "SUCCEEDED"
    assert (
        xen2.order(order(contract.StartMachine, machine, 8, deadline_seconds=60))["error_code"]
        == "LEASE_HELD"
    )
    assert machine.domain not in xen2.domains()

    assert xen1.order(order(contract.DeleteMachine, machine, 11))["event"] == "SUCCEEDED"
    assert xen1.lease("look", machine)["leases"] == []
    freed = [dom0.say("probe", pool=pool)["free_mib"] for dom0 in two]
    assert freed == [one["free_mib"] for one in seen]


def test_both_hosts_change_the_group_at_once_and_it_stays_whole(two: tuple[Dom0, Dom0]) -> None:
    """Volumes made and removed from both sides, all at the same time."""
    before = two[0].say("probe", pool="shared")
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda dom0: dom0.say("volumes", pool="shared", make=4)["made"], two))
    names = {name for names in made for name in names}
    assert len(names) == 8
    for dom0 in two:
        found = {volume.partition("/")[0] for volume in dom0.say("probe", pool="shared")["volumes"]}
        assert names <= found
        dom0.host.run("vgck shared", timeout_seconds=60, check=True)
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda part: part[0].say("volumes", pool="shared", remove=part[1]),
                zip(two, made, strict=True),
            )
        )
    assert two[1].say("probe", pool="shared")["free_mib"] == before["free_mib"]


@pytest.mark.parametrize("pool", ["nas"], indirect=True)
def test_an_export_that_shows_old_names_or_none_is_no_pool(two: tuple[Dom0, Dom0], pool: str) -> None:
    xen2 = two[1]
    nas.unmount(xen2.host)
    missing = xen2.say("probe", pool=pool)
    assert missing["error_code"] == "POOL_MISCONFIGURED"
    assert "is not mounted" in missing["error_message"]
    nas.mount(xen2.host, "hard")
    stale = xen2.say("probe", pool=pool)
    assert stale["error_code"] == "POOL_MISCONFIGURED"
    assert "lookupcache=none" in stale["error_message"]


@pytest.mark.parametrize("pool", ["nas"], indirect=True)
def test_a_server_that_is_away_takes_its_own_pool_away_and_no_other(
    two: tuple[Dom0, Dom0], pool: str
) -> None:
    xen1, xen2 = two
    both, others = ["local", "shared", pool], ["local", "shared"]
    with nas.away(xen1.host):
        hanging = xen2.say("look", probe=15)
    assert (hanging["pools"], hanging["listed"]) == (others, others)
    back = xen2.say("look", probe=60)
    assert (back["pools"], back["listed"]) == (both, both)
