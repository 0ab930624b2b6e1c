"""More faults: every error that the broker may answer, for half a minute under load.

Lives here: rows of the same table as in `rows`. Each returns which parts had ended, and what those who asked
for machines meanwhile were told; the five promises that hold after every row are judged in `field`.
"""

import random
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests import broker_errors
from tests.chaos.field import Field, Refused
from tests.chaos.rows import load, row, wait_running
from tests.worker.console_bench import wait_for

SECONDS = 30.0
#: replayed with a pause of a tenth of a millisecond after each; others are answered every 1024 lines
LINES_TO_LOAD = 200_000


@row
def broker_busy(field: Field, dice: random.Random) -> list[str]:
    """BUSY: a script runs in the broker for 30 s"""
    return _suffer(field, dice, broker_errors.busy)


@row
def broker_full(field: Field, dice: random.Random) -> list[str]:
    """OOM: the broker's memory is full for 30 s"""
    return _suffer(field, dice, broker_errors.out_of_memory)


@row
def broker_disk_broken(field: Field, dice: random.Random) -> list[str]:
    """MISCONF: the broker cannot save to its disk for 30 s"""
    return _suffer(field, dice, broker_errors.disk_broken)


@row
def broker_read_only(field: Field, dice: random.Random) -> list[str]:
    """READONLY: the broker is a replica for 30 s"""
    return _suffer(field, dice, broker_errors.read_only)


@row
def broker_without_replicas(field: Field, dice: random.Random) -> list[str]:
    """NOREPLICAS: the broker wants a replica before it writes for 30 s"""
    return _suffer(field, dice, broker_errors.too_few_replicas)


@row
def broker_crowded(field: Field, dice: random.Random) -> list[str]:
    """the broker throws all out and lets nobody in for 30 s"""
    return _suffer(field, dice, broker_errors.too_many_clients)


@row
def broker_locks_out(field: Field, dice: random.Random) -> list[str]:
    """WRONGPASS: all accounts have another password for 30 s"""
    users = ["portal", *(f"dom0.{name}" for name in field.plan.host_names)]
    return _suffer(field, dice, lambda admin: broker_errors.locked_out(admin, *users))


@row
def broker_loading(field: Field, dice: random.Random) -> list[str]:
    """LOADING: the broker starts anew and reads its log for 30 s"""
    before = _pids(field)
    load(field, dice)
    wait_running(field)
    with field.redis() as admin, admin.pipeline(transaction=False) as pipe:
        for number in range(LINES_TO_LOAD):
            pipe.set("webxen.test", number)
        pipe.execute()
        # written to the disk once a second
        time.sleep(1.5)
    argv, env = field.desk.known["broker"]
    field.kill("broker")
    wait_for(lambda: not field.desk.is_running("broker"), "the end of the broker")
    slowly = ["--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024"]
    field.desk.start("broker", [*argv, *slowly], env)
    field.desk.known["broker"] = (argv, env)
    wait_for(lambda: _answer(field) == "LOADING", "the broker to read its log", 20)
    told = _ask(field, SECONDS)
    wait_for(lambda: _answer(field) == "good", "the broker to have read its log", 120)
    with field.redis() as admin:
        admin.delete("webxen.test")
        admin.config_set("key-load-delay", 0)
    return told + _ended(field, before)


def _suffer(field: Field, dice: random.Random, trouble: broker_errors.Trouble) -> list[str]:
    before = _pids(field)
    load(field, dice)
    wait_running(field)
    with field.redis() as admin:
        admin.ping()  # the one connection that stays
        with trouble(admin):
            felt = _answer(field)
            told = _ask(field, SECONDS)
    if felt == "good":
        told.append("the fault was not felt")
    return told + _ended(field, before)


def _answer(field: Field) -> str:
    """What a stranger to the trouble is told by the broker."""
    with field.redis(retry=Retry(NoBackoff(), 0)) as client:
        try:
            client.set("webxen.test", "x", ex=60)
        except redis.BusyLoadingError:
            return "LOADING"
        except redis.RedisError as error:
            return str(error)
    return "good"


def _ask(field: Field, seconds: float) -> list[str]:
    """Machines are asked for all the while. The broker's trouble is nobody's who asks."""
    wrong = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            field.create(1)
        except Refused as refused:
            if "QUOTA" not in str(refused):
                wrong.append(f"asked for a machine: {refused}")
        except OSError as error:
            wrong.append(f"asked for a machine: {error}")
        if time.monotonic() - began > 10:
            wrong.append(f"asked for a machine: told after {time.monotonic() - began:.0f} s")
        time.sleep(5)
    return wrong


def _pids(field: Field) -> dict[str, int]:
    return {name: field.pid(name) for name in field.desk.names() if name != "broker"}


def _ended(field: Field, before: dict[str, int]) -> list[str]:
    """Nothing starts an ended part again here: each must have lived."""
    return [
        f"{name} has ended"
        for name, pid in before.items()
        if not field.desk.is_running(name) or field.pid(name) != pid
    ]
