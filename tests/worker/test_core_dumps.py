"""A service that crashes leaves no memory on a disk."""

import re
from pathlib import Path

import pytest

from tests.worker.console_bench import Broker, wait_for
from tests.worker.whole import CELERY
from tests.worker.worker_host import WorkerHost

DUMPABLE = """
import ctypes
from worker import core_dumps
core_dumps.forbid()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
SERVICES = {
    "agent": ("-m", "worker.agent.daemon"),
    "relay": ("-m", "worker.relayd.daemon"),
    "consoled": ("-m", "worker.console.daemon"),
    "listener": CELERY,
}


def core_limit(pid: int) -> list[str]:
    try:
        found = re.search(
            r"^Max core file size +(\S+) +(\S+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE
        )
    except FileNotFoundError:
        return []
    return list(found.groups()) if found else []


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_of_a_service_is_not_written(whole_worker_host: WorkerHost, redis_broker: Broker, name: str) -> None:
    process = whole_worker_host.process(*SERVICES[name], log=f"{name}.txt")
    assert wait_for(lambda: core_limit(process.pid) == ["0", "0"], "the limit", 30)


def test_is_not_given_to_a_program_either(worker_host: WorkerHost) -> None:
    process = worker_host.process("-c", DUMPABLE, log="dumpable.txt")
    assert process.wait(30) == 0
    assert (worker_host.directory / "dumpable.txt").read_text().strip() == "0"
