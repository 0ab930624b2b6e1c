"""Further faults: every error that the broker may return, for half a minute under load.

Rows of the same table as in `faults`. Each returns the processes that ended, and wrong answers to requests
during the fault; `running_stack` checks the five promises that hold after every row.
"""

import random
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests import broker_errors
from tests.chaos.faults import load, row, wait_running
from tests.chaos.running_stack import Refused, RunningStack
from tests.worker.console_bench import wait_for

SECONDS = 30.0
#: replayed with a pause of a tenth of a millisecond after each; others are answered every 1024 lines
LINES_TO_LOAD = 200_000


@row
def broker_busy(stack: RunningStack, dice: random.Random) -> list[str]:
    """BUSY: a script runs in the broker for 30 s"""
    return _suffer(stack, dice, broker_errors.busy)


@row
def broker_full(stack: RunningStack, dice: random.Random) -> list[str]:
    """OOM: the broker's memory is full for 30 s"""
    return _suffer(stack, dice, broker_errors.out_of_memory)


@row
def broker_disk_broken(stack: RunningStack, dice: random.Random) -> list[str]:
    """MISCONF: the broker cannot save to its disk for 30 s"""
    return _suffer(stack, dice, broker_errors.disk_broken)


@row
def broker_read_only(stack: RunningStack, dice: random.Random) -> list[str]:
    """READONLY: the broker is a replica for 30 s"""
    return _suffer(stack, dice, broker_errors.read_only)


@row
def broker_without_replicas(stack: RunningStack, dice: random.Random) -> list[str]:
    """NOREPLICAS: the broker wants a replica before it writes for 30 s"""
    return _suffer(stack, dice, broker_errors.too_few_replicas)


@row
def broker_crowded(stack: RunningStack, dice: random.Random) -> list[str]:
    """the broker throws all out and lets nobody in for 30 s"""
    return _suffer(stack, dice, broker_errors.too_many_clients)


@row
def broker_locks_out(stack: RunningStack, dice: random.Random) -> list[str]:
    """WRONGPASS: all accounts have another password for 30 s"""
    users = ["portal", *(f"dom0.{name}" for name in stack.plan.host_names)]
    return _suffer(stack, dice, lambda admin: broker_errors.locked_out(admin, *users))


@row
def broker_loading(stack: RunningStack, dice: random.Random) -> list[str]:
    """LOADING: the broker starts anew and reads its log for 30 s"""
    before = _pids(stack)
    load(stack, dice)
    wait_running(stack)
    with stack.redis() as admin, admin.pipeline(transaction=False) as pipe:
        for number in range(LINES_TO_LOAD):
            pipe.set("webxen.test", number)
        pipe.execute()
        # written to disk once a second
        time.sleep(1.5)
    argv, env = stack.desk.known["broker"]
    stack.kill("broker")
    wait_for(lambda: not stack.desk.is_running("broker"), "the end of the broker")
    slowly = ["--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024"]
    stack.desk.start("broker", [*argv, *slowly], env)
    stack.desk.known["broker"] = (argv, env)
    wait_for(lambda: _answer(stack) == "LOADING", "the broker to read its log", 20)
    told = _ask(stack, SECONDS)
    wait_for(lambda: _answer(stack) == "good", "the broker to have read its log", 120)
    with stack.redis() as admin:
        admin.delete("webxen.test")
        admin.config_set("key-load-delay", 0)
    return told + _ended(stack, before)


def _suffer(stack: RunningStack, dice: random.Random, trouble: broker_errors.Trouble) -> list[str]:
    before = _pids(stack)
    load(stack, dice)
    wait_running(stack)
    with stack.redis() as admin:
        admin.ping()  # the only connection that stays
        with trouble(admin):
            felt = _answer(stack)
            told = _ask(stack, SECONDS)
    if felt == "good":
        told.append("the fault was not felt")
    return told + _ended(stack, before)


def _answer(stack: RunningStack) -> str:
    """Return the broker's error for an ordinary connection."""
    with stack.redis(retry=Retry(NoBackoff(), 0)) as client:
        try:
            client.set("webxen.test", "x", ex=60)
        except redis.BusyLoadingError:
            return "LOADING"
        except redis.RedisError as error:
            return str(error)
    return "good"


def _ask(stack: RunningStack, seconds: float) -> list[str]:
    """Request machines continuously; users must not notice the broker's fault."""
    wrong = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            stack.create(1)
        except Refused as refused:
            if "QUOTA" not in str(refused):
                wrong.append(f"asked for a machine: {refused}")
        except OSError as error:
            wrong.append(f"asked for a machine: {error}")
        if time.monotonic() - began > 10:
            wrong.append(f"asked for a machine: told after {time.monotonic() - began:.0f} s")
        time.sleep(5)
    return wrong


def _pids(stack: RunningStack) -> dict[str, int]:
    return {name: stack.pid(name) for name in stack.desk.names() if name != "broker"}


def _ended(stack: RunningStack, before: dict[str, int]) -> list[str]:
    """Ended processes are not restarted here: each must have kept running."""
    return [
        f"{name} has ended"
        for name, pid in before.items()
        if not stack.desk.is_running(name) or stack.pid(name) != pid
    ]
