"""Two hosts between which alice's machine web1 can migrate, and their reports.

xen1 and xen2 have a shared pool, a relay each, and the same CPU and Xen.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.fixture_cache import shared
from tests.fixtures import NOW, public_pem, report
from webxen.core.fences import Fence
from webxen.inventory import operations as inventory
from webxen.inventory.models import Host
from webxen.jobs import observing, operations
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.migration import operations as migration
from webxen.migration.models import MoveSide
from worker import contract

HW_CAPS = "1fc9cbf5:f6f83203:2991ca77:00000121:0000000f:219c07a9:0040068c:00000300"


def domain(
    machine: Machine, power: str = "RUNNING", *, suffix: str = "", seconds: float = 9.0
) -> contract.DomainSeen:
    name = f"{machine.name}-{machine.id.hex[:8]}{suffix}"
    return contract.DomainSeen(name, str(machine.id), 7, power, machine.memory_mib, 1, seconds)  # type: ignore[arg-type]


def show(
    host: Host, *domains: contract.DomainSeen, now: datetime = NOW, shared: str = "nfs-1", **changed: Any
) -> None:
    """Send an observation of a host: 8 GiB free, a shared pool, a relay, and these domains."""
    facts = {
        "host": host.name,
        "machine": "x86_64",
        "hw_caps": HW_CAPS,
        "virt_caps": "pv hvm hap",
        "total_memory": "9000",
        "free_memory": "8192",
        "xen_major": "4",
        "xen_minor": "20",
    }
    number = host.name[-1]
    said: dict[str, Any] = {
        "host": host.name,
        "facts": facts | changed.pop("facts", {}),
        "pools": (contract.PoolSeen("local", "FILE", 204800, 204800, shared, is_shared=bool(shared)),),
        "bridges": ("xenbr0",),
        "domains": domains,
        "images": {"minimal-1.ext4": "0" * 64},
        "worker_version": "0.1.0",
        "relay_certificate": f"certificate of {host.name}",
        "relay_address": f"10.0.9.{number}",
    }
    observing.apply_observation(host=host, observation=contract.Observation(**said | changed), now=now)
    host.refresh_from_db()


@shared
def xen2() -> Host:
    key = public_pem(Ed25519PrivateKey.generate())
    return inventory.accept_host(name="xen2", public_key=key, now=NOW)


@shared
def pair(web1: Machine, xen1: Host, xen2: Host) -> tuple[Host, Host]:
    """web1 runs on xen1 and can migrate to xen2."""
    Machine.objects.filter(id=web1.id).update(config="name = 'web1'\ntype = 'pvh'\n")
    # the power reported by a job that has just ended takes precedence, so both hosts report a little later
    show(xen1, domain(web1))
    show(xen2)
    Machine.objects.filter(id=web1.id).update(power="RUNNING")
    web1.refresh_from_db()
    return xen1, xen2


def tell(job: Job, side: str, event: str, *, now: datetime = NOW, **news: Any) -> bool:
    """Report for one side of a migration; `facts` are those of its relay."""
    row = MoveSide.objects.select_related("host").get(move__job=job, side=side)
    facts = news.pop("facts", None)
    told, host = None, news.pop("host", row.host)
    if facts is not None:
        told = contract.MoveFacts(job_id=str(job.id), side=side, **facts)  # type: ignore[arg-type]
    said = contract.Report(
        job_id=news.pop("job_id", str(job.id)),
        machine_id=str(job.machine_id),
        event=event,  # type: ignore[arg-type]
        sequence=news.pop("sequence", row.sequence + 1),
        move=told,
        **news,
    )
    moved = operations.apply_report(host=host, report=said, now=now)
    job.refresh_from_db()
    return moved


def tell_cleaned(job: Job, side: str, event: str = "SUCCEEDED", **news: Any) -> bool:
    """Answer the outcome that was sent to one side."""
    row = MoveSide.objects.get(move__job=job, side=side)
    return tell(job, side, event, job_id=contract.settle_job_id(str(job.id), side, row.refusals), **news)  # type: ignore[arg-type]


def listens(job: Job, *, now: datetime = NOW, **facts: Any) -> bool:
    """Report that the target listens."""
    facts = {"port": 4001, "domains": (), **facts}
    return tell(job, "TARGET", "STEP", step="LISTENING", facts=facts, now=now)


@pytest.fixture
def start_move(pair: tuple[Host, Host], web1: Machine, dana: Any) -> Callable[..., Job]:
    """Request web1's migration to xen2 as dana."""

    def start(**changed: Any) -> Job:
        wish: dict[str, Any] = {"machine_id": web1.id, "host_name": "xen2", "now": NOW}
        return migration.migrate_machine(user=dana, **wish | changed)

    return start


__all__ = ["domain", "listens", "pair", "report", "show", "start_move", "tell", "tell_cleaned", "xen2"]


def fall_silent_with_a_fence(
    pair: Any, machine: Machine, settings: Any, folder: Path, *, now: datetime
) -> None:
    """xen1, where the machine runs, is silent; it has a fence agent that is not installed."""
    settings.WEBXEN_FENCE_DIR = folder
    settings.WEBXEN_FENCES = {"xen1": Fence("fence_test", (("password", "hidden-words"),))}
    show(pair[0], domain(machine))
    show(pair[1], now=now)
