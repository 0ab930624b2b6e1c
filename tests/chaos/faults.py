"""Faults injected into a `RunningStack` under load, which then checks its promises.

One function per row of the table; its docstring is the row's name. Processes are ended by the pid that the
stack recorded.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable

import psycopg

from tests.chaos.running_stack import Refused, RunningStack
from tests.worker.console_bench import wait_for
from worker.contract import queue_for
from worker.xen.xl import Xl, XlError

#: injects the fault; returns additional deviations that it observed
Row = Callable[[RunningStack, random.Random], list[str] | None]

ROWS: list[Row] = []
LOAD = 5


def row(function: Row) -> Row:
    ROWS.append(function)
    return function


def load(stack: RunningStack, dice: random.Random) -> list[str]:
    """Load: machines are created, and existing ones started, stopped and deleted."""
    verbs = ("start", "shutdown", "poweroff", "reboot", "delete")
    for machine in stack.machines():
        if machine["state"] in ("READY", "FAILED") and machine["open_job"] is None:
            verb = dice.choice(verbs) if machine["state"] == "READY" else "delete"
            with contextlib.suppress(Refused):  # it runs already, or is off
                stack.act(machine["id"], verb)
    # requests beyond the quota wait for staff, and their number per user is limited
    stack.withdraw_requests()
    return stack.create(LOAD)


def wait_running(stack: RunningStack) -> None:
    """Wait up to 30 s until a job is RUNNING."""
    wait_for(lambda: any(job["status"] == "RUNNING" for job in stack.open_jobs()), "a running job", 30)


@row
def nothing(stack: RunningStack, dice: random.Random) -> None:
    """no fault: the load alone"""
    load(stack, dice)


@row
def agent_killed(stack: RunningStack, dice: random.Random) -> None:
    """kill -9 of a host's agent (what carries orders out) at a random moment, three times"""
    _kill_thrice(stack, dice, "agent")


@row
def listener_killed(stack: RunningStack, dice: random.Random) -> None:
    """kill -9 of a host's listener (what talks to the broker) at a random moment, three times"""
    _kill_thrice(stack, dice, "listener")


def _kill_thrice(stack: RunningStack, dice: random.Random, service: str) -> None:
    load(stack, dice)
    for _ in range(3):
        time.sleep(dice.uniform(0, 3))
        stack.restart(f"{dice.choice(stack.plan.host_names)}-{service}")


@row
def agent_stopped(stack: RunningStack, dice: random.Random) -> None:
    """SIGSTOP of an agent for 10 s, then SIGCONT"""
    _stop(stack, dice, "agent")


@row
def listener_stopped(stack: RunningStack, dice: random.Random) -> None:
    """SIGSTOP of a listener for 10 s, then SIGCONT"""
    _stop(stack, dice, "listener")


def _stop(stack: RunningStack, dice: random.Random, service: str) -> None:
    load(stack, dice)
    wait_running(stack)
    host = dice.choice(stack.plan.host_names)
    stack.hit(f"{host}-{service}", signal.SIGSTOP)
    time.sleep(10)
    stack.hit(f"{host}-{service}", signal.SIGCONT)


def lists_of(host: str) -> tuple[str, ...]:
    """The lists of a host's queue: cancels are on the first, orders on the second."""
    return queue_for(host), f"{queue_for(host)}\x06\x163"


@row
def messages_doubled(stack: RunningStack, dice: random.Random) -> None:
    """every order on the queues put there ten times over, at random moments"""
    for host in stack.plan.host_names:
        stack.hit(f"{host}-listener", signal.SIGSTOP)
    load(stack, dice)
    with stack.redis() as redis:
        lists = [key for host in stack.plan.host_names for key in lists_of(host)]
        held = {key: redis.lrange(key, 0, -1) for key in lists}
        for host in stack.plan.host_names:
            stack.hit(f"{host}-listener", signal.SIGCONT)
        for _ in range(10):
            for key, items in held.items():
                for item in items:
                    redis.lpush(key, item)
            time.sleep(dice.uniform(0, 0.5))


@row
def messages_lost(stack: RunningStack, dice: random.Random) -> None:
    """every order taken off the queues before a host saw it"""
    for host in stack.plan.host_names:
        stack.hit(f"{host}-listener", signal.SIGSTOP)
    load(stack, dice)
    with stack.redis() as redis:
        for host in stack.plan.host_names:
            redis.delete(*lists_of(host))
    for host in stack.plan.host_names:
        stack.hit(f"{host}-listener", signal.SIGCONT)


@row
def redis_flushed(stack: RunningStack, dice: random.Random) -> None:
    """FLUSHALL under load"""
    load(stack, dice)
    wait_running(stack)
    with stack.redis() as redis:
        redis.flushall()


@row
def redis_killed(stack: RunningStack, dice: random.Random) -> None:
    """kill -9 of Redis under load, 10 s away"""
    load(stack, dice)
    wait_running(stack)
    stack.kill("broker")
    time.sleep(10)
    stack.revive()


@row
def redis_paused(stack: RunningStack, dice: random.Random) -> None:
    """Redis says nothing for 15 s"""
    load(stack, dice)
    stack.hit("broker", signal.SIGSTOP)
    time.sleep(15)
    stack.hit("broker", signal.SIGCONT)


@row
def redis_away_at_the_click(stack: RunningStack, dice: random.Random) -> None:
    """Redis is away when the machines are asked for"""
    stack.kill("broker")
    wait_for(lambda: not stack.desk.is_running("broker"), "the end of Redis")
    load(stack, dice)
    time.sleep(2)
    stack.revive()


@row
def web_killed(stack: RunningStack, dice: random.Random) -> None:
    """kill -9 of the web server while machines are asked for"""
    with contextlib.suppress(OSError, Refused):
        pid = os.fork()
        if pid == 0:
            time.sleep(dice.uniform(0.05, 0.6))
            stack.kill("web")
            os._exit(0)
        try:
            load(stack, dice)
        finally:
            os.waitpid(pid, 0)
    stack.restart("web")


@row
def portal_killed(stack: RunningStack, dice: random.Random) -> None:
    """kill -9 of all that works for the portal beside the web server, under load"""
    load(stack, dice)
    time.sleep(dice.uniform(0, 2))
    stack.restart("reports", "clock", "beat")


@row
def database_stopped(stack: RunningStack, dice: random.Random) -> None:
    """every connection to PostgreSQL cut, five times, under load"""
    load(stack, dice)
    for _ in range(5):
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
        time.sleep(dice.uniform(0.1, 1.5))


@row
def list_garbled(stack: RunningStack, dice: random.Random) -> None:
    """xl list prints (null) names for 8 s"""
    load(stack, dice)
    for stand_in in stack.stand_ins.values():
        stand_in.lay_out(list={"null_name": True})
    time.sleep(8)
    for stand_in in stack.stand_ins.values():
        stand_in.lay_out()


@row
def create_lies(stack: RunningStack, dice: random.Random) -> None:
    """xl create says that it failed although the domain runs"""
    for stand_in in stack.stand_ins.values():
        stand_in.lay_out(create={"at": "done", "exit": 1, "times": 3})
    load(stack, dice)
    time.sleep(5)
    for stand_in in stack.stand_ins.values():
        stand_in.lay_out()


@row
def dom0_rebooted(stack: RunningStack, dice: random.Random) -> None:
    """a dom0 goes down with all its domains in the midst of jobs, and comes back"""
    load(stack, dice)
    wait_running(stack)
    host = dice.choice(stack.plan.host_names)
    stack.kill(*stack.services(host))
    stack.stand_ins[host].power_off()
    time.sleep(3)
    stack.revive()


@row
def host_silent(stack: RunningStack, dice: random.Random) -> None:
    """a host is away for 40 s and comes back"""
    host = dice.choice(stack.plan.host_names)
    stack.kill(*stack.services(host))
    load(stack, dice)
    time.sleep(40)
    stack.revive()


@row
def guests_die(stack: RunningStack, dice: random.Random) -> None:
    """xl destroy by hand of whatever runs, while jobs are under way"""
    load(stack, dice)
    wait_running(stack)
    for stand_in in stack.stand_ins.values():
        xl = Xl(stand_in.xl)
        for domain in xl.domains():
            if domain.domid and dice.random() < 0.7:
                with contextlib.suppress(XlError):
                    xl.destroy(domain.domid)


@row
def jobs_cancelled(stack: RunningStack, dice: random.Random) -> None:
    """every open job cancelled at a random moment"""
    load(stack, dice)
    time.sleep(dice.uniform(0, 2))
    for job in stack.open_jobs():
        with contextlib.suppress(Refused):
            stack.call("POST", f"jobs/{job['id']}/cancel/", {})
        time.sleep(dice.uniform(0, 0.4))
