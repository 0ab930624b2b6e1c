"""Every program the worker starts writes numbers and messages the same way, whatever the host speaks."""

import os
import sys
from pathlib import Path

import pytest

from worker import shell
from worker.errors import DiskFailed
from worker.observe import observer
from worker.observe.probe import PoolProbe
from worker.settings import read
from worker.storage import Pools
from worker.storage.lvm import LvmPool

RUSSIAN = {
    "LANG": "ru_RU.UTF-8",
    "LC_ALL": "ru_RU.UTF-8",
    "LC_NUMERIC": "ru_RU.UTF-8",
    "LC_MESSAGES": "ru_RU.UTF-8",
    "LANGUAGE": "ru:en",
}
#: prints what chooses the language of a program
PRINT = "import os; print({n: v for n, v in os.environ.items() if n.startswith(('LC_', 'LANG'))}, flush=True)"
#: as LVM does: a decimal comma unless the locale is C
VGS = """#!/bin/sh
case "$LC_ALL${LANGUAGE:+x}" in C*x|"") comma=, ;; C*) comma=. ;; *) comma=, ;; esac
echo "  some-uuid 252${comma}00 250${comma}00"
"""


@pytest.fixture
def _russian(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in RUSSIAN.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_russian")
class TestLocale:
    WANTED = "{'LC_ALL': 'C.UTF-8'}"

    @pytest.mark.parametrize("env", [None, {"PATH": "/bin", **RUSSIAN}])
    def test_of_a_program_that_is_waited_for(self, env: dict[str, str] | None) -> None:
        assert (
            shell.run([sys.executable, "-c", PRINT], timeout_seconds=30, env=env).text.strip() == self.WANTED
        )

    @pytest.mark.parametrize("env", [None, {"PATH": "/bin", **RUSSIAN}])
    def test_of_one_that_is_listened_to(self, env: dict[str, str] | None) -> None:
        with shell.listen([sys.executable, "-c", PRINT], env=env) as process:
            assert process.stdout is not None
            assert process.stdout.read().decode().strip() == self.WANTED

    def test_of_one_that_goes_on_alone(self, tmp_path: Path) -> None:
        out = (tmp_path / "out").open("wb")
        with out:
            process = shell.start(
                [sys.executable, "-c", PRINT],
                log_path=tmp_path / "log",
                stdout=out.fileno(),
                marks={"XL_TAKES_IN": "/x"},
            )
        assert shell.ended(process, timeout_seconds=30) == 0
        assert (tmp_path / "out").read_text().strip() == self.WANTED

    def test_of_one_that_outlives_its_caller(self, tmp_path: Path) -> None:
        process = shell.spawn([sys.executable, "-c", PRINT], log_path=tmp_path / "log")
        assert shell.ended(process, timeout_seconds=30) == 0
        assert (tmp_path / "log").read_text().strip() == self.WANTED

    def test_of_one_that_this_process_becomes(self) -> None:
        become = "import sys; from worker import shell; shell.become([sys.executable, '-c', sys.argv[1]])"
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        told = shell.run([sys.executable, "-c", become, PRINT], timeout_seconds=30, env=env)
        assert told.text.strip() == self.WANTED


class TestVolumeGroups:
    @pytest.fixture
    def pool(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LvmPool:
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        self.say(tmp_path, "vgs", VGS)
        self.say(tmp_path, "lvs", "#!/bin/sh\n")
        return LvmPool("vg0", host="xen1", number=1, lock=tmp_path / "lock")

    @staticmethod
    def say(directory: Path, program: str, script: str) -> None:
        (directory / program).write_text(script)
        (directory / program).chmod(0o755)

    @pytest.mark.usefixtures("_russian")
    def test_a_host_with_a_decimal_comma_is_read(self, pool: LvmPool) -> None:
        seen = pool.probe()
        assert (seen.total_mib, seen.free_mib, seen.id) == (252, 250, "some-uuid")

    @pytest.mark.parametrize(
        "printed", ["", "some-uuid", "some-uuid 1 x", "u 252,00 1", "u nan 1", "u inf 1", "u -1 1"]
    )
    def test_sizes_that_are_none_lose_that_pool_and_nothing_else(
        self, pool: LvmPool, tmp_path: Path, printed: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.say(tmp_path, "vgs", f"#!/bin/sh\necho '{printed}'\n")
        with pytest.raises(DiskFailed, match="cannot be read"):
            pool.probe()
        (tmp_path / "disks").mkdir()
        config = read(
            {
                "WEBXEN_HOST": "xen1",
                "WEBXEN_STATE_DIR": str(tmp_path),
                "WEBXEN_LVM_POOLS": "vg0",
            },
            needs_broker=False,
        )
        found = observer.read_pools(Pools(config), PoolProbe())
        assert [seen.name for seen in found] == ["local"]
        assert "vg0 cannot be read" in caplog.text

    @pytest.mark.parametrize("printed", ["a|1,00||", "a|nan||active", "a|many"])
    def test_volumes_that_cannot_be_read_are_an_error_in_words(
        self, pool: LvmPool, tmp_path: Path, printed: str
    ) -> None:
        self.say(tmp_path, "lvs", f"#!/bin/sh\necho '{printed}'\n")
        with pytest.raises(DiskFailed, match="The output of lvs for volume group vg0 cannot be read"):
            pool.volumes()

    def test_columns_more_than_were_asked_for_do_no_harm(self, pool: LvmPool, tmp_path: Path) -> None:
        self.say(tmp_path, "vgs", "#!/bin/sh\necho 'u 252.00 1.00 more'\n")
        self.say(tmp_path, "lvs", "#!/bin/sh\necho 'swap|4.00||active|more'\n")
        assert (pool.probe().total_mib, pool.volumes()) == (252, [])
