"""A host's pools are made once and kept; none of them shares anything with a pool of another host."""

from pathlib import Path

import pytest

from tests.worker.worker_host import WorkerHost
from worker.errors import PoolUnknown
from worker.storage import Pools
from worker.storage.lvm import LvmPool

LVS = """#!/bin/sh
echo "$@" >> {log}
echo 'webxen-machine-a|16.00|webxen-machine-a|active'
"""


@pytest.fixture
def lvs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `lvs` that lists a group without a lease volume; the file with what it was asked."""
    programs, log = tmp_path / "programs", tmp_path / "asked"
    programs.mkdir()
    (programs / "lvs").write_text(LVS.format(log=log))
    (programs / "lvs").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    log.touch()
    return log


class TestPools:
    def test_are_the_hosts_own_for_as_long_as_it_works(self, worker_host: WorkerHost) -> None:
        dom0 = worker_host.dom0()
        assert dom0.pools.find("local") is dom0.pools.find("local")
        assert [pool.name for pool in dom0.pools.all()] == ["local"]
        assert worker_host.dom0().pools.find("local") is not dom0.pools.find("local")

    def test_there_is_none_of_another_name(self, worker_host: WorkerHost) -> None:
        with pytest.raises(PoolUnknown, match="no storage pool san"):
            Pools(worker_host.settings).find("san")


class TestGroupOfThisHostAlone:
    def test_is_asked_for_its_leases_once_in_a_while(
        self, tmp_path: Path, lvs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pool = LvmPool("vg0", host="xen1", number=1, lock=tmp_path / "lock")
        assert [pool.leases for _ in range(5)] == [None] * 5
        assert len(lvs.read_text().splitlines()) == 1
        # it may be shared meanwhile
        monkeypatch.setattr(pool, "_own_until", 0.0)
        assert pool.leases is None
        assert len(lvs.read_text().splitlines()) == 2
