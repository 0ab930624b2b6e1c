"""Errors that a broker may return, produced on a real Redis and undone afterwards.

Context managers over an administrator's connection. While one is active, other connections get the error.
Without Django, so that the worker's tests can use them too.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

Admin = Any
Trouble = Callable[[Admin], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def busy(admin: Admin) -> Iterator[None]:
    """BUSY: a script that does not end."""
    other = redis.Redis(connection_pool=redis.ConnectionPool(**_pool_options(admin)))

    def run() -> None:
        with contextlib.suppress(redis.RedisError):
            other.execute_command("EVAL", "while true do end", "0")

    admin.config_set("busy-reply-threshold", 100)
    script = threading.Thread(target=run)
    script.start()
    try:
        time.sleep(0.3)
        yield
    finally:
        admin.script_kill()
        script.join()
        other.close()


def _pool_options(admin: Admin) -> dict[str, Any]:
    pool = admin.connection_pool
    return {"connection_class": pool.connection_class, **pool.connection_kwargs, "socket_timeout": None}


@contextlib.contextmanager
def out_of_memory(admin: Admin) -> Iterator[None]:
    """OOM: writes are refused."""
    with _configured(admin, "maxmemory", "1"):
        yield


@contextlib.contextmanager
def disk_broken(admin: Admin) -> Iterator[None]:
    """MISCONF: the last snapshot failed."""
    server = admin.info("server")["process_id"]
    admin.set("webxen.test", "there is something to save")
    with _configured(admin, "save", "3600 1"), _configured(admin, "rdb-key-save-delay", "1000000"):
        admin.bgsave()
        while admin.info("persistence")["rdb_last_bgsave_status"] != "err":
            for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            time.sleep(0.05)
        yield


@contextlib.contextmanager
def read_only(admin: Admin) -> Iterator[None]:
    """READONLY: it is a replica of a server that is away."""
    admin.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        admin.execute_command("REPLICAOF", "NO", "ONE")


@contextlib.contextmanager
def too_few_replicas(admin: Admin) -> Iterator[None]:
    """NOREPLICAS: writes require a connected replica."""
    with _configured(admin, "min-replicas-to-write", "1"):
        yield


@contextlib.contextmanager
def too_many_clients(admin: Admin) -> Iterator[None]:
    """New connections are refused, and existing ones closed."""
    with _configured(admin, "maxclients", "1"):
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield


@contextlib.contextmanager
def _configured(admin: Admin, name: str, value: str) -> Iterator[None]:
    before = admin.config_get(name)[name]
    admin.config_set(name, value)
    try:
        yield
    finally:
        admin.config_set(name, before)


@contextlib.contextmanager
def locked_out(admin: Admin, *users: str) -> Iterator[None]:
    """WRONGPASS and NOAUTH: the accounts temporarily have other passwords."""
    lines = {line.split()[1]: line.split()[2:] for line in map(_text, admin.acl_list())}
    for user in users:
        admin.execute_command("ACL", "SETUSER", user, "resetpass", ">another password for a while")
    _throw_out(admin)
    try:
        yield
    finally:
        for user in users:
            hashes = [word for word in lines[user] if word.startswith("#")]
            admin.execute_command("ACL", "SETUSER", user, "resetpass", *hashes)


def _throw_out(admin: Admin) -> None:
    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def _text(line: Any) -> str:
    return line.decode() if isinstance(line, bytes) else str(line)


ALL: dict[str, Trouble] = {
    "BUSY": busy,
    "OOM": out_of_memory,
    "MISCONF": disk_broken,
    "READONLY": read_only,
    "NOREPLICAS": too_few_replicas,
    "maxclients": too_many_clients,
}
