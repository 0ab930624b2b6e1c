"""Rows with machines in every state, a pending request, a failed job and two hosts, for screenshots."""

import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import override_settings
from playwright.sync_api import Browser

from tests.browser.chromium import chromium
from tests.browser.portal_runner import HOSTS, Desk, desk
from tests.fixtures import NOW, observe, report
from tests.moves import domain, listens, show, tell
from webxen.approvals import operations as approvals
from webxen.approvals import quota_increase, requested_spec
from webxen.core import windows
from webxen.core.fences import Fence
from webxen.fleet import evacuation, fencing
from webxen.inventory import operations as inventory
from webxen.inventory.models import Host, Size
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.migration import operations as migration
from webxen.quotas import operations as quotas
from webxen.quotas.shortage import Figures, RunningLimit
from worker import contract

FACTS = {
    "version": "#1 SMP PREEMPT_DYNAMIC Debian 6.12.57-1 (2025-11-05)",
    "machine": "x86_64",
    "nr_nodes": "1",
    "cores_per_socket": "1",
    "threads_per_core": "1",
    "cpu_mhz": "2893.202",
    "hw_caps": "078bf3fd:80802201:20100800:00000001:00000000:00000000:00000000:00000100",
    "virt_caps": "pv shadow",
    "xen_extra": ".2-pre",
    "xen_version": "4.20.2-pre",
    "xen_caps": "xen-3.0-x86_64",
    "xen_scheduler": "credit2",
    "xen_pagesize": "4096",
    "platform_params": "virt_start=0xffff800000000000",
    "xen_changeset": "",
    "cc_compiler": "x86_64-linux-gnu-gcc (Debian 14.2.0-19) 14.2.0",
    "cc_compile_by": "pkg-xen-devel",
    "cc_compile_date": "Sun Aug 31 18:36:40 UTC 2025",
    "xend_config_format": "4",
}
STEPS = ("TEMPLATE", "DISK", "SEED", "CONFIG", "DOMAIN", "KERNEL", "INIT", "LOGIN")
SENTENCE = "The kernel found no root file system. Check the image's root device; what was made is removed."
PANIC = """[    1.204311] VFS: Cannot open root device "xvda" or unknown-block(202,0): error -6
[    1.211870] Please append a correct "root=" boot option; here are the available partitions:
[    1.220004] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(202,0)"""


@pytest.fixture(scope="package")
def started_browser() -> Iterator[Browser]:
    """One browser for all tests of this folder, because starting it takes longer than most of them.

    Playwright's event loop runs in this thread, where Django refuses synchronous database access.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        with chromium() as started:
            yield started


@pytest.fixture
def browser(started_browser: Browser) -> Iterator[Browser]:
    """A browser context without data of earlier tests."""
    yield started_browser
    for context in started_browser.contexts:
        context.close()


@pytest.fixture(scope="package")
def folder() -> Iterator[Path]:
    """Two simulated hosts with a shared folder of disks."""
    # below /tmp itself: the path of a unix socket is limited to 107 bytes
    with tempfile.TemporaryDirectory(prefix="wx-") as name:
        shared, other = (Path(name, "hosts", host, "state") for host in HOSTS)
        (shared / "disks").mkdir(parents=True)
        other.mkdir(parents=True)
        (other / "disks").symlink_to(shared / "disks")
        yield Path(name)


@pytest.fixture(scope="package")
def running_portal(folder: Path) -> Iterator[Desk]:
    """A portal with these hosts, shared by all tests of this folder; each creates machines of its own."""
    with desk("fake", folder, hosts=len(HOSTS)) as running:
        yield running


@pytest.fixture
def at_noon() -> Iterator[None]:
    """The portal's clock is a little later than the fixtures' creation."""
    with time_machine.travel(NOW + timedelta(minutes=4), tick=False):
        yield


def _walk(job: Job, last: str, *, first: int = 0) -> None:
    """Report a job's steps up to `last`, some seconds apart."""
    report(job, "STARTED", now=NOW + timedelta(seconds=first))
    for place, step in enumerate(STEPS[: STEPS.index(last) + 1]):
        at = NOW + timedelta(seconds=first + 1 + 3.4 * place)
        report(job, "STEP", step=step, progress=12 * place + 4, now=at)


def _moves(order_machine: Callable[..., Job], xen1: Host, others: Any, dana: Any) -> dict[str, Any]:
    """One machine being migrated to xen2, and one whose location is unknown after a migration."""
    xen2 = inventory.accept_host(name="xen2", public_key=xen1.public_key, now=NOW)
    late = NOW + timedelta(minutes=3, seconds=55)
    made = {}
    for name in ("migrating", "lost"):
        job = order_machine(name, host_name="xen1")
        report(job, "SUCCEEDED", power="RUNNING", config="type = 'pvh'", now=NOW + timedelta(seconds=5))
        made[name] = Machine.objects.get(id=job.machine_id)
    here = [domain(machine) for machine in made.values()]
    show(xen1, *others, *here, now=late, facts=FACTS | {"virt_caps": "pv hvm hap"})
    show(xen2, now=late, facts=FACTS | {"virt_caps": "pv hvm hap"})
    jobs = {}
    for name, machine in made.items():
        with override_settings(WEBXEN_MOVES_PER_HOST=2):
            jobs[name] = migration.migrate_machine(
                user=dana, machine_id=machine.id, host_name="xen2", now=late
            )
        listens(jobs[name], now=late)
    count = {"bytes_sent": 97 << 20, "memory_mib": 256, "rate_mib_s": 48.2, "passes": 2}
    facts = count | {"phase": "STREAM", "remaining_seconds": 3.3}
    tell(jobs["migrating"], "SOURCE", "STEP", step="STREAM", progress=38, facts=facts, now=late)
    away = domain(made["lost"], "SUSPENDED", suffix="--migratedaway")
    passed = count | {"phase": "GO", "go_passed": True, "closed": True, "domains": (away,)}
    tell(jobs["lost"], "SOURCE", "FAILED", error_code="MOVE_UNKNOWN", facts=passed, now=late)
    facts = {"phase": "READY", "domains": (domain(made["lost"], "PAUSED", suffix="--incoming", seconds=0.0),)}
    tell(jobs["lost"], "TARGET", "FAILED", error_code="INTERNAL_ERROR", facts=facts, now=late)
    return made


@pytest.fixture
def world(
    transactional_db: None, order_machine: Callable[..., Job], alice: Any, bob: Any, dana: Any, xen1: Host
) -> dict[str, Any]:
    for slug, name, figures in (("medium", "Medium", (2, 1024, 10)), ("large", "Large", (8, 8192, 80))):
        Size.objects.create(
            slug=slug, name=name, vcpus=figures[0], memory_mib=figures[1], disk_gib=figures[2]
        )
    done = order_machine("web1")
    _walk(done, "LOGIN")
    report(done, "SUCCEEDED", power="RUNNING", now=NOW + timedelta(seconds=31))
    building = order_machine("builder")
    _walk(building, "DOMAIN", first=200)
    failed = order_machine("old-debian")
    _walk(failed, "KERNEL")
    report(
        failed,
        "FAILED",
        step="KERNEL",
        error_code="NO_LOGIN_PROMPT",
        error_message=SENTENCE,
        console_tail=PANIC,
        now=NOW + timedelta(seconds=70),
    )
    off = order_machine("database")
    report(off, "STARTED")
    report(off, "SUCCEEDED", power="OFF")
    wish = requested_spec.parse(
        untrusted={
            "name": "statistics",
            "image": "minimal",
            "size": "large",
            "reason": "Monthly figures for the whole department; runs for a week.",
        },
        user=alice,
    )
    asked = approvals.submit(user=alice, wish=wish, now=NOW)
    more_wish = quota_increase.parse(
        untrusted={"reason": "Two more for the exhibition in spring.", "machines": 12, "memory_mib": 8192},
        user=alice,
    )
    approvals.ask_for_quota(user=alice, wish=more_wish, now=NOW)
    web1 = Machine.objects.get(id=done.machine_id)
    seen = contract.DomainSeen(f"web1-{web1.id.hex[:8]}", str(web1.id), 3, "RUNNING", 256, 1, 12.5)
    foreign = contract.DomainSeen("legacy", "0" * 8 + "-0000-4000-8000-000000000001", 1, "PAUSED", 512, 2)
    observe(xen1, domains=(seen, foreign), now=NOW + timedelta(minutes=3, seconds=55), **FACTS)
    Host.objects.create(
        name="xen7", state=Host.State.NEW, public_key=xen1.public_key, created_at=NOW, facts=FACTS
    )
    moves = _moves(order_machine, xen1, (seen, foreign), dana)
    return {
        **moves,
        "web1": web1,
        "builder": building.machine,
        "failed": failed.machine,
        "off": off.machine,
        "failed_job": failed,
        "building_job": building,
        "request": asked,
    }


@pytest.fixture
def troubled(
    world: dict[str, Any],
    order_machine: Callable[..., Job],
    alice: Any,
    charlie: Any,
    dana: Any,
    lab: Any,
    elsewhere: Any,
    settings: Any,
) -> dict[str, Any]:
    """The same rows with problems: a dead host, one being evacuated, a rejected request, a full quota."""
    settings.WEBXEN_FENCES = {"xen3": Fence("fence_ipmilan", ())}
    settings.WEBXEN_BALANCE_WINDOW = windows.read("WEBXEN_BALANCE_WINDOW", "daily 11:00-15:00")
    late, xen1 = NOW + timedelta(minutes=3, seconds=55), Host.objects.get(name="xen1")
    xen3 = inventory.accept_host(name="xen3", public_key=xen1.public_key, now=NOW)
    show(xen3, now=NOW)
    stranded = order_machine("stranded", host_name="xen3")
    report(stranded, "SUCCEEDED", power="RUNNING", now=NOW + timedelta(seconds=5))
    show(xen3, domain(Machine.objects.get(id=stranded.machine_id)), now=NOW + timedelta(seconds=10))
    long = order_machine("a-name-that-is-as-long-as-a-host-name-may-be-which-is-63-chars", host_name="xen1")
    report(long, "SUCCEEDED", power="RUNNING", now=NOW + timedelta(seconds=6))
    refused = approvals.reject(
        staff=dana,
        request_id=world["request"].id,
        reason="This host is full until spring; ask again in March, or take the medium size.",
        now=late,
    )
    quotas.set_limits(
        project=lab, limits=Figures(6, 5, 1280, 20), running=RunningLimit(4, 1024), staff=dana, now=late
    )
    evacuation.drain_host(user=dana, host_id=xen1.id, now=late)
    Host.objects.filter(name="xen2").update(clock_ahead_seconds=7380, other_protocol=2)
    fencing.ask(user=dana, host_id=xen3.id, now=late)
    (asked,) = fencing.claim(now=late)
    evidence = fencing.Evidence(
        0, 0, "Success: Powered OFF\nStatus: ON", "fence_ipmilan reports that the host is still on."
    )
    fencing.conclude(fencing_id=asked.id, evidence=evidence, now=late)
    travel = Job.objects.get(machine=world["migrating"], kind=Job.Kind.MIGRATE)
    return {**world, "travel": travel, "xen3": xen3, "long": long.machine, "refused": refused}
