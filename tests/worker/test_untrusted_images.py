"""Images that nobody vouches for: small files that ask for much are refused, and cost no memory."""

import bz2
import functools
import gzip
import io
import lzma
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.worker.test_images import make_tarball, member
from tests.worker.worker_host import make_root, run
from worker import shell
from worker.contract import ImageSpec
from worker.errors import DiskFull, SeedFailed, TemplateUnusable, WorkerError
from worker.images import seed_files, store, tarball

MIB = 1 << 20
#: what the process that asks may grow by, whatever the image asks for
PARENT_KIB = 16 << 10
WRITES = """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
open('f', 'wb').write(bytes(5 << 20))
"""


def long_name(path: Path, *, mib: int, kind: bytes = tarfile.GNUTYPE_LONGNAME) -> Path:
    """A header that announces a name of this size, which packs to nothing."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, mib * MIB
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(mib):
            out.write(b"a" * MIB)
        out.write(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    return path


def zeros_in(path: Path, opened: Callable[[], "io.BufferedIOBase"], *, mib: int) -> Path:
    """An archive of one file of zeros."""
    info = tarfile.TarInfo("etc/zeros")
    info.size = mib * MIB
    with opened() as out:
        out.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(mib):
            out.write(bytes(MIB))
        out.write(bytes(1024))
    return path


def grown_kib(act: Callable[[], object]) -> tuple[int, str]:
    """What this does to the peak of a process's memory (KiB), and what it says."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            said = str(act())
        except WorkerError as error:
            said = f"{error.code} {error}"
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os.write(writer, f"{grown} {said}".encode()[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        grown_text, _, said = answer.read().partition(" ")
    os.waitpid(pid, 0)
    return int(grown_text), said


class TestATarball:
    @pytest.mark.parametrize(
        "kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE]
    )
    def test_with_a_header_of_300_mib_is_refused_and_costs_no_memory(
        self, tmp_path: Path, kind: bytes
    ) -> None:
        path = long_name(tmp_path / "x.tar.gz", mib=300, kind=kind)
        assert path.stat().st_size < 2 * MIB
        grown, said = grown_kib(lambda: tarball.look(path))
        assert said.startswith("IMAGE_UNUSABLE")
        assert "a header of 300 MiB" in said
        assert grown < PARENT_KIB

    @pytest.mark.parametrize("compressor", ["gz", "bz2", "xz"])
    def test_that_unpacks_to_a_thousand_times_its_size_is_refused(
        self, tmp_path: Path, compressor: str
    ) -> None:
        path = tmp_path / f"x.tar.{compressor}"
        opened: dict[str, Callable[[], io.BufferedIOBase]] = {
            "gz": functools.partial(gzip.GzipFile, path, "wb"),
            "bz2": functools.partial(bz2.BZ2File, path, "wb", compresslevel=1),
            "xz": functools.partial(lzma.LZMAFile, path, "wb", preset=0),
        }
        zeros_in(path, opened[compressor], mib=300)
        with pytest.raises(TemplateUnusable, match="it holds 300 MiB in a file of"):
            tarball.look(path)

    def test_that_keeps_its_reader_busy_is_given_up_in_time(self, tmp_path: Path) -> None:
        """Many short members after one another: no header is large, and it goes on and on."""
        path = tmp_path / "x.tar.gz"
        one = tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT)
        with gzip.open(path, "wb", compresslevel=1) as out:
            for _ in range(400):
                out.write(one * 2048)
        began = time.monotonic()
        with pytest.raises(WorkerError, match=r"may|too long|no honest"):
            tarball.look(path, timeout_seconds=2)
        assert time.monotonic() - began < 15

    def test_whose_links_fill_the_memory_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tarball, "READER", shell.Limits(memory_bytes=64 * MIB, output_bytes=MIB))
        path = tmp_path / "x.tar"
        with tarfile.open(path, "w") as archive:
            for number in range(30_000):
                archive.addfile(member(f"etc/{number}-{'x' * 3900}", tarfile.SYMTYPE, linkname="y"))
        with pytest.raises(TemplateUnusable, match="more memory"):
            tarball.look(path)

    def test_with_ten_thousand_headers_in_one_another_is_refused(self, tmp_path: Path) -> None:
        info = tarfile.TarInfo("././@LongLink")
        info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1
        block = info.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")
        path = tmp_path / "x.tar"
        path.write_bytes(block * 10_000 + bytes(1024))
        with pytest.raises(TemplateUnusable, match="headers that announce headers"):
            tarball.look(path)

    @pytest.mark.parametrize(
        "info", [member("/".join(["a"] * 200)), member("etc/" + "n" * 5000), member("a" * 5000 + "/x")]
    )
    def test_with_names_that_no_file_system_takes_is_refused(
        self, tmp_path: Path, info: tarfile.TarInfo
    ) -> None:
        with pytest.raises(TemplateUnusable, match="longer or deeper"):
            tarball.look(make_tarball(tmp_path / "x.tar.gz", info))

    def test_with_more_device_nodes_than_can_be_named_is_refused(self, tmp_path: Path) -> None:
        nodes = [member(f"dev/{number}-{'d' * 60}", tarfile.CHRTYPE) for number in range(5000)]
        with pytest.raises(TemplateUnusable, match="too large"):
            tarball.look(make_tarball(tmp_path / "x.tar.gz", *nodes))

    def test_of_zstd_says_so(self, tmp_path: Path) -> None:
        path = tmp_path / "x.tar.zst"
        path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
        with pytest.raises(TemplateUnusable, match="compress it with gzip, bzip2 or xz"):
            tarball.look(path)

    def test_that_is_damaged_in_the_middle_is_called_so(self, tmp_path: Path) -> None:
        path = tmp_path / "x.tar.xz"
        with tarfile.open(path, "w:xz") as archive:
            for number in range(400):
                archive.addfile(member(f"etc/{number}"))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
        with pytest.raises(TemplateUnusable, match="cannot be read"):
            tarball.look(path)


def sparse_image(directory: Path, name: str, *, mib: int) -> Path:
    """A file system whose one file is a hole."""
    root = make_root(directory)
    with (root / name).open("r+b" if (root / name).exists() else "wb") as out:
        out.truncate(mib * MIB)
    image = directory / "x.ext4"
    with image.open("wb") as out:
        out.truncate(32 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", str(root), str(image))
    return image


class TestAFileSystem:
    @pytest.mark.parametrize("name", ["etc/shadow", "etc/fstab", "etc/inittab", "etc/securetty"])
    def test_with_a_file_of_500_mib_to_be_changed_is_refused(self, tmp_path: Path, name: str) -> None:
        image = sparse_image(tmp_path, name, mib=500)
        workspace = tmp_path / "workspace"
        workspace.mkdir()
        grown, said = grown_kib(lambda: seed_files.look(image, workspace, timeout_seconds=60))
        assert f"SEED_FAILED /{name} in the image is 512000 KiB" in said
        assert grown < PARENT_KIB
        assert sum(path.stat().st_size for path in workspace.iterdir()) < MIB

    def test_with_a_file_of_one_mib_is_taken(self, tmp_path: Path) -> None:
        image = sparse_image(tmp_path, "etc/shadow", mib=1)
        found = seed_files.look(image, tmp_path, timeout_seconds=60)
        assert len(found.texts["/etc/shadow"]) == MIB

    def test_whose_reader_prints_without_end_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        programs = tmp_path / "programs"
        programs.mkdir()
        (programs / "debugfs").write_text("#!/bin/sh\nexec yes\n")
        (programs / "debugfs").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        image = tmp_path / "x.ext4"
        image.write_bytes(bytes(MIB))
        with pytest.raises(SeedFailed, match="prints more than it may"):
            seed_files.look(image, tmp_path, timeout_seconds=60)


class TestAProgramWithinLimits:
    def limits(self) -> shell.Limits:
        return shell.Limits(memory_bytes=200 * MIB, cpu_seconds=1, file_bytes=MIB, output_bytes=1000)

    @pytest.mark.parametrize(
        ("program", "word"),
        [
            ("while True: pass", "processor time"),
            ("import sys; sys.stdout.write('x' * 5000)", "prints more"),
            (WRITES, "space"),
        ],
    )
    def test_is_ended_when_it_takes_more(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, word: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(shell.LimitReached, match=word):
            shell.run_confined([sys.executable, "-c", program], timeout_seconds=30, limits=self.limits())
        assert all(path.stat().st_size <= MIB for path in tmp_path.iterdir())

    def test_gets_no_more_memory(self) -> None:
        program = "try: bytes(300 << 20)\nexcept MemoryError: print('none')"
        argv = [sys.executable, "-c", program]
        assert shell.run_confined(argv, timeout_seconds=30, limits=self.limits()).text == "none\n"

    def test_is_ended_with_all_that_it_started(self) -> None:
        with pytest.raises(shell.CommandTimedOut):
            shell.run_confined(["sh", "-c", "sleep 99 & sleep 99"], timeout_seconds=0.5, limits=self.limits())

    def test_speaks_the_language_that_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LC_ALL", "ru_RU.UTF-8")
        done = shell.run_confined(["env"], timeout_seconds=10, limits=shell.Limits())
        assert "LC_ALL=C.UTF-8" in done.text.splitlines()

    def test_that_is_missing_is_named(self) -> None:
        with pytest.raises(FileNotFoundError) as raised:
            shell.run_confined(["no-such-program"], timeout_seconds=10, limits=shell.Limits())
        assert raised.value.filename == "no-such-program"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB of its own."""
    path = tmp_path / "small"
    path.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting needs root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=16m", "none", str(path)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    yield path
    subprocess.run(["umount", str(path)], check=True)


class TestAFullDisk:
    @pytest.mark.parametrize("count", [1, 3000])
    @pytest.mark.parametrize("language", ["C", "ru_RU.UTF-8"])
    def test_is_called_full_whatever_tar_says(
        self,
        small_disk: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        count: int,
        language: str,
    ) -> None:
        monkeypatch.setenv("LC_ALL", language)
        monkeypatch.setenv("LANGUAGE", "ru")
        content = os.urandom(24 * MIB // count)
        path = small_disk / "x.tar"
        source = tmp_path / "x.tar"
        with tarfile.open(source, "w") as archive:
            for number in range(count):
                info = tarfile.TarInfo(f"etc/{number}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            archive.addfile(member("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3))
        path.symlink_to(source)
        with pytest.raises(DiskFull):
            store.filesystem_of(
                small_disk,
                ImageSpec(path.name, "0" * 64, "TARBALL"),
                timeout_seconds=60,
                on_progress=lambda _part: None,
            )
        assert list((small_disk / store.BUILT).iterdir()) == []
