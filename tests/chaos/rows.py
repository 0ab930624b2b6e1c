"""The faults: each does harm to a `Field` that is at work. What must hold afterwards is judged there.

Lives here: one function a row of the table; its docstring is the row's name. Processes are ended by the pid
the field knows them by.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable

import psycopg

from tests.chaos.field import Field, Refused
from tests.worker.console_bench import wait_for
from worker.contract import queue_for
from worker.xen.xl import Xl, XlError

#: does its harm; what it saw that was not as promised, if it looks for anything of its own
Row = Callable[[Field, random.Random], list[str] | None]

ROWS: list[Row] = []
LOAD = 5


def row(function: Row) -> Row:
    ROWS.append(function)
    return function


def load(field: Field, dice: random.Random) -> list[str]:
    """Everything at once: machines being made, and what there is being started, stopped and deleted."""
    verbs = ("start", "shutdown", "poweroff", "reboot", "delete")
    for machine in field.machines():
        if machine["state"] in ("READY", "FAILED") and machine["open_job"] is None:
            verb = dice.choice(verbs) if machine["state"] == "READY" else "delete"
            with contextlib.suppress(Refused):  # it runs already, or it is off
                field.act(machine["id"], verb)
    # what was beyond the quota waits for staff, and only so many of one person's may
    field.withdraw_requests()
    return field.create(LOAD)


def wait_running(field: Field) -> None:
    """Something is under way on a host."""
    wait_for(lambda: any(job["status"] == "RUNNING" for job in field.open_jobs()), "a running job", 30)


@row
def nothing(field: Field, dice: random.Random) -> None:
    """no fault: the load alone"""
    load(field, dice)


@row
def agent_killed(field: Field, dice: random.Random) -> None:
    """kill -9 of a host's agent (what carries orders out) at a random moment, three times"""
    _kill_thrice(field, dice, "agent")


@row
def listener_killed(field: Field, dice: random.Random) -> None:
    """kill -9 of a host's listener (what talks to the broker) at a random moment, three times"""
    _kill_thrice(field, dice, "listener")


def _kill_thrice(field: Field, dice: random.Random, service: str) -> None:
    load(field, dice)
    for _ in range(3):
        time.sleep(dice.uniform(0, 3))
        field.restart(f"{dice.choice(field.plan.host_names)}-{service}")


@row
def agent_stopped(field: Field, dice: random.Random) -> None:
    """SIGSTOP of an agent for 10 s, then SIGCONT"""
    _stop(field, dice, "agent")


@row
def listener_stopped(field: Field, dice: random.Random) -> None:
    """SIGSTOP of a listener for 10 s, then SIGCONT"""
    _stop(field, dice, "listener")


def _stop(field: Field, dice: random.Random, service: str) -> None:
    load(field, dice)
    wait_running(field)
    host = dice.choice(field.plan.host_names)
    field.hit(f"{host}-{service}", signal.SIGSTOP)
    time.sleep(10)
    field.hit(f"{host}-{service}", signal.SIGCONT)


def lists_of(host: str) -> tuple[str, ...]:
    """The lists of a host's queue: cancels lie on the first, orders on the second."""
    return queue_for(host), f"{queue_for(host)}\x06\x163"


@row
def messages_doubled(field: Field, dice: random.Random) -> None:
    """every order on the queues put there ten times over, at random moments"""
    for host in field.plan.host_names:
        field.hit(f"{host}-listener", signal.SIGSTOP)
    load(field, dice)
    with field.redis() as redis:
        lists = [key for host in field.plan.host_names for key in lists_of(host)]
        held = {key: redis.lrange(key, 0, -1) for key in lists}
        for host in field.plan.host_names:
            field.hit(f"{host}-listener", signal.SIGCONT)
        for _ in range(10):
            for key, items in held.items():
                for item in items:
                    redis.lpush(key, item)
            time.sleep(dice.uniform(0, 0.5))


@row
def messages_lost(field: Field, dice: random.Random) -> None:
    """every order taken off the queues before a host saw it"""
    for host in field.plan.host_names:
        field.hit(f"{host}-listener", signal.SIGSTOP)
    load(field, dice)
    with field.redis() as redis:
        for host in field.plan.host_names:
            redis.delete(*lists_of(host))
    for host in field.plan.host_names:
        field.hit(f"{host}-listener", signal.SIGCONT)


@row
def redis_flushed(field: Field, dice: random.Random) -> None:
    """FLUSHALL under load"""
    load(field, dice)
    wait_running(field)
    with field.redis() as redis:
        redis.flushall()


@row
def redis_killed(field: Field, dice: random.Random) -> None:
    """kill -9 of Redis under load, 10 s away"""
    load(field, dice)
    wait_running(field)
    field.kill("broker")
    time.sleep(10)
    field.revive()


@row
def redis_paused(field: Field, dice: random.Random) -> None:
    """Redis says nothing for 15 s"""
    load(field, dice)
    field.hit("broker", signal.SIGSTOP)
    time.sleep(15)
    field.hit("broker", signal.SIGCONT)


@row
def redis_away_at_the_click(field: Field, dice: random.Random) -> None:
    """Redis is away when the machines are asked for"""
    field.kill("broker")
    wait_for(lambda: not field.desk.is_running("broker"), "the end of Redis")
    load(field, dice)
    time.sleep(2)
    field.revive()


@row
def web_killed(field: Field, dice: random.Random) -> None:
    """kill -9 of the web server while machines are asked for"""
    with contextlib.suppress(OSError, Refused):
        pid = os.fork()
        if pid == 0:
            time.sleep(dice.uniform(0.05, 0.6))
            field.kill("web")
            os._exit(0)
        try:
            load(field, dice)
        finally:
            os.waitpid(pid, 0)
    field.restart("web")


@row
def portal_killed(field: Field, dice: random.Random) -> None:
    """kill -9 of all that works for the portal beside the web server, under load"""
    load(field, dice)
    time.sleep(dice.uniform(0, 2))
    field.restart("reports", "clock", "beat")


@row
def database_stopped(field: Field, dice: random.Random) -> None:
    """every connection to PostgreSQL cut, five times, under load"""
    load(field, dice)
    for _ in range(5):
        with psycopg.connect(field.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
        time.sleep(dice.uniform(0.1, 1.5))


@row
def list_garbled(field: Field, dice: random.Random) -> None:
    """xl list prints (null) names for 8 s"""
    load(field, dice)
    for stand_in in field.stand_ins.values():
        stand_in.lay_out(list={"null_name": True})
    time.sleep(8)
    for stand_in in field.stand_ins.values():
        stand_in.lay_out()


@row
def create_lies(field: Field, dice: random.Random) -> None:
    """xl create says that it failed although the domain runs"""
    for stand_in in field.stand_ins.values():
        stand_in.lay_out(create={"at": "done", "exit": 1, "times": 3})
    load(field, dice)
    time.sleep(5)
    for stand_in in field.stand_ins.values():
        stand_in.lay_out()


@row
def dom0_rebooted(field: Field, dice: random.Random) -> None:
    """a dom0 goes down with all its domains in the midst of jobs, and comes back"""
    load(field, dice)
    wait_running(field)
    host = dice.choice(field.plan.host_names)
    field.kill(*field.services(host))
    field.stand_ins[host].power_off()
    time.sleep(3)
    field.revive()


@row
def host_silent(field: Field, dice: random.Random) -> None:
    """a host is away for 40 s and comes back"""
    host = dice.choice(field.plan.host_names)
    field.kill(*field.services(host))
    load(field, dice)
    time.sleep(40)
    field.revive()


@row
def guests_die(field: Field, dice: random.Random) -> None:
    """xl destroy by hand of whatever runs, while jobs are under way"""
    load(field, dice)
    wait_running(field)
    for stand_in in field.stand_ins.values():
        xl = Xl(stand_in.xl, str(stand_in.programs))
        for domain in xl.domains():
            if domain.domid and dice.random() < 0.7:
                with contextlib.suppress(XlError):
                    xl.destroy(domain.domid)


@row
def jobs_cancelled(field: Field, dice: random.Random) -> None:
    """every open job cancelled at a random moment"""
    load(field, dice)
    time.sleep(dice.uniform(0, 2))
    for job in field.open_jobs():
        with contextlib.suppress(Refused):
            field.call("POST", f"jobs/{job['id']}/cancel/", {})
        time.sleep(dice.uniform(0, 0.4))
