"""Runs inside a dom0 of the lab: the worker's own verbs without a portal, one word on standard input.

It stands in for the listener (no broker) and for consoled (it copies the guest's console into the log).
"""

import json
import os
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from worker import contract, settings, storage
from worker.agent import executor
from worker.contract.coding import read_part
from worker.errors import WorkerError
from worker.guest import leases
from worker.job.context import HostContext
from worker.job.journal import Journal
from worker.job.reporting import Reporter
from worker.observe import observer
from worker.observe.contents import HostContents
from worker.observe.probe import PoolProbe
from worker.xen import xl


def main() -> None:
    word = json.load(sys.stdin)
    config = settings.read({**os.environ, **word["env"]}, needs_broker=False)
    config.make_directories()
    told: list[contract.Report] = []
    journal = Journal(config.journal_dir)
    dom0 = HostContext(
        settings=config,
        xl=xl.Xl(str(config.xl)),
        journal=journal,
        reporter=Reporter(told.append, on_end_told=journal.mark_told),
        verify=lambda _host, _signed, _signature: True,
    )
    began = time.monotonic()
    answer = globals()[f"do_{word['what']}"](dom0, told, word)
    print(json.dumps({"seconds": round(time.monotonic() - began, 3), **answer}))


def do_order(dom0: HostContext, told: list[contract.Report], word: dict[str, Any]) -> dict[str, Any]:
    order = contract.decode(word["order"])
    assert isinstance(order, contract.Order)
    machine_id = word["order"]["machine"]["id"]
    threading.Thread(target=copy_console, args=(dom0, machine_id), daemon=True).start()
    now = int(time.time())
    envelope = contract.seal(order, host=dom0.settings.host, sign=lambda _: b"x", not_after=now + 600)
    executor.obey(dom0, envelope, now=now)
    # what is told goes by a thread of its own
    assert dom0.reporter.flush(timeout_seconds=60)
    end = [report for report in told if report.event in contract.ENDS][-1]
    return {
        "event": end.event,
        "error_code": end.error_code,
        "error_message": end.error_message,
        "console_tail": end.console_tail,
        "steps": [report.step for report in told],
    }


def do_lease(dom0: HostContext, told: list[contract.Report], word: dict[str, Any]) -> dict[str, Any]:
    """Call a function of `worker.guest.leases` by its name; what it raises is its code."""
    machine = read_part(contract.MachineSpec, word["machine"], "machine")
    if word["function"] == "take":
        # as a move's target does: seen long before, taken in the blackout
        leases.make_visible(dom0, machine)
    began = time.monotonic()
    try:
        found = getattr(leases, word["function"])(dom0, machine, **word.get("values", {}))
    except WorkerError as error:
        return {"error_code": error.code, "error_message": str(error)}
    if word["function"] == "look":
        return {"leases": [[known.owner, known.fence] for known in found]}
    return {"found": found, "error_code": "", "alone_ms": round((time.monotonic() - began) * 1000, 1)}


def do_probe(dom0: HostContext, told: list[contract.Report], word: dict[str, Any]) -> dict[str, Any]:
    pool = dom0.pools.find(word["pool"])
    try:
        seen = pool.probe()
    except WorkerError as error:
        return {"error_code": error.code, "error_message": str(error)}
    names = [f"{volume.machine_id}/{volume.disk_id}" for volume in pool.volumes()]
    return {"id": seen.id, "is_shared": seen.is_shared, "free_mib": seen.free_mib, "volumes": names}


def do_look(dom0: HostContext, told: list[contract.Report], word: dict[str, Any]) -> dict[str, Any]:
    """What the host says of its pools and of what lies in them."""
    probe = PoolProbe(seconds=word["probe"])
    pools = [pool.name for pool in observer.read_pools(dom0.pools, probe)]
    return {"pools": pools, "listed": list(HostContents(dom0.settings, probe=probe).look().pools)}


def do_share(dom0: HostContext, told: list[contract.Report], word: dict[str, Any]) -> dict[str, Any]:
    pool = storage.find_shareable(dom0.settings, word["pool"])
    assert pool is not None
    pool.share()
    return {}


def do_volumes(dom0: HostContext, told: list[contract.Report], word: dict[str, Any]) -> dict[str, Any]:
    """Remove these blank volumes, or make so many, one after the other."""
    pool = dom0.pools.find(word["pool"])
    for name in word.get("remove", ()):
        pool.remove(name, "root")
    made = [str(uuid.uuid4()) for _ in range(word.get("make", 0))]
    for name in made:
        pool.begin_blank(name, "root", size_mib=16)
        pool.finish(name, "root")
    return {"made": made}


def copy_console(dom0: HostContext, machine_id: str) -> None:
    log = dom0.settings.console_log(machine_id)
    while True:
        try:
            domain = dom0.xl.domain(machine_id)
        except xl.XlError:  # being made just now
            domain = None
        path = f"/local/domain/{domain.domid}/console/tty" if domain is not None else ""
        tty = os.popen(f"xenstore-read {path} 2>/dev/null").read().strip() if path else ""
        if tty.startswith("/dev/pts/"):
            break
        time.sleep(0.3)
    device = os.open(tty, os.O_RDWR | os.O_NOCTTY)
    with Path(log).open("ab", buffering=0) as out:
        while True:
            try:
                out.write(os.read(device, 4096))
            except OSError:
                return


if __name__ == "__main__":
    main()
