"""Looking for the xl that watches a domain, among processes that end meanwhile."""

import os
import subprocess

import pytest

from worker.xen import restart_watcher


@pytest.mark.parametrize("name", ["cmdline", "environ"])
def test_a_process_that_has_just_ended_says_nothing(name: str) -> None:
    """Linux answers ESRCH, and not ENOENT, where a process has ended and nobody has waited for it yet."""
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert restart_watcher._read(str(ended.pid), name) == b""
