"""Further faults, of the infrastructure: the database, the journal's disk, xl itself, the clock.

Rows of the same table as in `faults`. A row returns deviations from its promise; `running_stack` checks the
five promises that hold after every row.
"""

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg

from tests import over_postgres
from tests.chaos.faults import load, row, wait_running
from tests.chaos.running_stack import Refused, RunningStack
from tests.worker.worker_host import run
from worker.contract import MIB
from worker.job.reserve import RESERVE_BYTES

#: time limit of an answer of any kind: the database is waited for up to four seconds
ANSWER_SECONDS = 5.0
#: additional time on a loaded machine
SLACK_SECONDS = 3.0
FILLER = "filler"
ASKED = ("GET machines/", "GET jobs/", "POST requests/", "GET quotas/", "GET me/")


@row
def database_locked(stack: RunningStack, dice: random.Random) -> list[str]:
    """machines, jobs, quota and hosts locked for 20 s: 503 within 5 s, or good"""
    load(stack, dice)
    wait_running(stack)
    with psycopg.connect(stack.database_url) as connection:
        _lock_tables(connection)
        told = _ask_for(stack, 20)
    return _judge(told, wants_refusals=True)


def _lock_tables(connection: psycopg.Connection) -> None:
    """Lock them until the transaction ends.

    Their locks are taken one after another, and a transaction of the portal may take them in another order:
    PostgreSQL then ends one of the two with an error, which may be this one.
    """
    while True:
        try:
            connection.execute(
                "LOCK TABLE machines_machine, jobs_job, quotas_quota, inventory_host IN ACCESS EXCLUSIVE MODE"
            )
        except psycopg.errors.DeadlockDetected:
            connection.rollback()
        else:
            return


@row
def database_full(stack: RunningStack, dice: random.Random) -> list[str]:
    """no connection to PostgreSQL is left for 15 s: 503 with Retry-After, or good"""
    load(stack, dice)
    wait_running(stack)
    with ExitStack() as held:
        ours = _take_all(stack, held)
        # also close the connections that the web server keeps
        ours[0].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> ALL(%s)",
            ([one.info.backend_pid for one in ours],),
        )
        _take_all(stack, held)
        told = _ask_for(stack, 15)
    return _judge(told, wants_refusals=True)


def _take_all(stack: RunningStack, held: ExitStack) -> list[psycopg.Connection]:
    """Occupy all remaining connections."""
    taken = []
    with suppress(psycopg.OperationalError):
        while True:
            taken.append(held.enter_context(psycopg.connect(stack.database_url, autocommit=True)))
    return taken


@row
def database_down(stack: RunningStack, dice: random.Random) -> list[str]:
    """PostgreSQL stopped at once, without a last word, and back after 20 s"""
    load(stack, dice)
    wait_running(stack)
    over_postgres.stop(stack.database_url)
    told = _ask_for(stack, 20)
    over_postgres.start(stack.database_url)
    return _judge(told, wants_refusals=True)


def _ask_for(stack: RunningStack, seconds: float) -> Counter[str]:
    """Send many requests at once; return each answer with its duration."""
    told: Counter[str] = Counter()
    until = time.monotonic() + seconds

    def ask(number: int) -> None:
        while time.monotonic() < until:
            what = ASKED[number % len(ASKED)]
            began = time.monotonic()
            told[_answer(stack, what)] += 1
            if time.monotonic() - began > ANSWER_SECONDS + SLACK_SECONDS:
                told[f"{what} took {time.monotonic() - began:.1f} s"] += 1
            time.sleep(0.5)

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(len(ASKED))]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    return told


def _answer(stack: RunningStack, what: str) -> str:
    method, path = what.split()
    try:
        if method == "POST":
            stack.create(1)
        else:
            stack.call(method, path)
    except Refused as refused:
        is_said = "DATABASE_AWAY" in str(refused) and refused.headers.get("Retry-After")
        return "503 as promised" if refused.status == 503 and is_said else f"{what}: {refused}"
    except OSError as error:
        return f"{what}: {error}"
    return "good"


def _judge(told: Counter[str], *, wants_refusals: bool) -> list[str]:
    wrong = [f"{count} x {what}" for what, count in told.items() if what not in ("good", "503 as promised")]
    if wants_refusals and not told["503 as promised"]:
        wrong.append(f"the fault was not felt: {dict(told)}")
    return wrong


@row
def journal_garbled(stack: RunningStack, dice: random.Random) -> None:
    """a power cut leaves the journal's open entries empty, cut short or garbled"""
    load(stack, dice)
    wait_running(stack)
    host = dice.choice(stack.plan.host_names)
    stack.kill(*stack.services(host))
    stack.stand_ins[host].power_off()
    for path in (stack.desk.data / "hosts" / host / "state" / "journal").glob("[!.]*.json"):
        whole = path.read_bytes()
        if b'"state":"ENDED"' not in whole:
            spoiled = (b"", whole[: dice.randrange(1, len(whole))], dice.randbytes(len(whole)))
            path.write_bytes(dice.choice(spoiled))
    stack.revive()
    stack.settle()
    _delete_as_told(stack)


def _delete_as_told(stack: RunningStack) -> None:
    """A host that has lost its records does not touch its machine: the owner deletes it, as documented."""
    for machine in stack.machines():
        if machine["state"] == "FAILED":
            jobs = stack.call("GET", f"jobs/?machine={machine['id']}")["results"]
            if jobs[0]["kind"] == "CREATE" and jobs[0]["error"]["code"] == "DISK_TAKEN":
                stack.call("DELETE", f"machines/{machine['id']}/")


@row
def journal_full(stack: RunningStack, dice: random.Random) -> list[str]:
    """no room for the journal on one host for 15 s: refused before xl is asked"""
    host = dice.choice(stack.plan.host_names)
    services, state = stack.services(host), stack.desk.data / "hosts" / host / "state"
    stack.kill(*services)
    before = len(stack.stand_ins[host].runs())
    with _without_room(state / "journal"):
        stack.revive()
        load(stack, dice)
        time.sleep(15)
        after = len(stack.stand_ins[host].runs())
        stack.kill(*services)
    stack.revive()
    return [f"{host} started {after - before} domains it had not written down"] if after > before else []


@contextmanager
def _without_room(folder: Path) -> Iterator[None]:
    """Put the folder on a full file system of its own; its daemon is stopped before and after.

    What was written there meanwhile stays, as it does when somebody frees space.
    """
    kept = folder.with_name(f"{folder.name}.kept")
    shutil.copytree(folder, kept)
    # the reserve is there as well: only ends, cancels and deletes may use it
    size = RESERVE_BYTES + 4 * MIB
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder))
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        with (folder / FILLER).open("wb", buffering=0) as out, suppress(OSError):
            while True:
                out.write(b"\0" * 4096)
        yield
        shutil.rmtree(kept)
        shutil.copytree(folder, kept, ignore=shutil.ignore_patterns(FILLER))
    finally:
        run("umount", "-l", str(folder))
    shutil.rmtree(folder)
    kept.rename(folder)


@row
def xl_hangs(stack: RunningStack, dice: random.Random) -> None:
    """xl list, deaf to SIGTERM, hangs for ever three times; destroy and shutdown once"""
    hang = {"hang": True, "times": 1}
    for stand_in in stack.stand_ins.values():
        stand_in.lay_out(list={**hang, "times": 3}, destroy=hang, shutdown=hang)
    load(stack, dice)
    time.sleep(20)
    for stand_in in stack.stand_ins.values():
        stand_in.lay_out()


@row
def create_claims_success(stack: RunningStack, dice: random.Random) -> None:
    """xl create says that it succeeded although no domain runs"""
    for stand_in in stack.stand_ins.values():
        stand_in.lay_out(create={"at": "start", "exit": 0, "times": 3})
    load(stack, dice)
    time.sleep(5)
    for stand_in in stack.stand_ins.values():
        stand_in.lay_out()


@row
def clock_wrong(stack: RunningStack, dice: random.Random) -> None:
    """a host's clock jumps 2 h back in the midst of jobs, then 2 min ahead, then is right"""
    load(stack, dice)
    wait_running(stack)
    host = dice.choice(stack.plan.host_names)
    for shift in (-7200, 120, 0):
        for service in stack.services(host):
            stack.shift_clock(service, shift)
        stack.restart(*stack.services(host))
        time.sleep(dice.uniform(2, 5))
        if shift:
            load(stack, dice)
