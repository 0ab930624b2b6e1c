"""Templates: digests, root tarballs good and hostile, growing, and a host whose disk is full."""

import io
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.worker.worker_host import WorkerHost, cat, changed, digest, make_root, run
from worker import files
from worker.contract import DiskSpec, ImageSpec
from worker.errors import DeadlinePassed, TemplateUnusable
from worker.images import store, tarball
from worker.storage.copying import copy_sparse


def member(name: str, kind: bytes = tarfile.REGTYPE, **values: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in values.items():
        setattr(info, key, value)
    return info


def make_tarball(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(b"\0" * info.size))
    return path


def openvz_tarball(worker_host: WorkerHost) -> ImageSpec:
    """What download.openvz.org has: a whole root, with device nodes and a container's fstab."""
    root = make_root(worker_host.directory)
    (root / "etc/inittab").write_text("id:2:initdefault:\n1:2345:respawn:/sbin/getty 38400 console\n")
    (root / "etc/securetty").write_text("console\ntty1\n")
    (root / "sbin/getty").write_text("#!/bin/sh\n")
    path = worker_host.settings.images_dir / "debian-old.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root, arcname=".")
        archive.addfile(member("./dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666))
        archive.addfile(member("./etc/mtab", tarfile.SYMTYPE, linkname="/proc/mounts"))
        archive.addfile(member("./sbin/init2", tarfile.LNKTYPE, linkname="./sbin/init"))
    values = {"format": "TARBALL", "kernel": "vmlinuz", "ramdisk": "initrd", "vdev": "xvda1"}
    return ImageSpec(path.name, digest(path), **values)  # type: ignore[arg-type]


class TestTarball:
    def test_a_machine_is_made_of_a_root_tarball(self, worker_host: WorkerHost) -> None:
        image = openvz_tarball(worker_host)
        machine = worker_host.machine(image, disks=(DiskSpec("root", "local", 96, "xvda1"),))
        dom0 = worker_host.dom0()
        end = worker_host.do(dom0, "create", machine)
        assert (end.event, end.error_message) == ("SUCCEEDED", "")
        disk = worker_host.disk(machine)
        assert disk.stat().st_size == 96 << 20
        run("e2fsck", "-f", "-n", str(disk))
        assert cat(disk, "/etc/hostname") == "alices-box\n"
        fstab = cat(disk, "/etc/fstab").splitlines()
        assert fstab == [
            "/dev/xvda1 / ext4 defaults,errors=remount-ro 0 1",
            "proc /proc proc defaults 0 0",
        ]
        assert "h0:2345:respawn:/sbin/getty 38400 hvc0" in cat(disk, "/etc/inittab")
        assert cat(disk, "/etc/securetty").splitlines()[-1] == "hvc0"
        assert 'Fast link dest: "/proc/mounts"' in run("debugfs", "-R", "stat /etc/mtab", str(disk))
        assert list(worker_host.settings.images_dir.glob(".built/.unpack-*")) == []

        built = next((worker_host.settings.images_dir / store.BUILT).iterdir())
        before = built.stat().st_mtime_ns
        assert (
            worker_host.do(dom0, "create", worker_host.machine(image, disks=machine.disks)).event
            == "SUCCEEDED"
        )
        assert built.stat().st_mtime_ns == before  # made once an image

    def test_is_built_once_for_two_machines_asked_for_at_the_same_moment(
        self, worker_host: WorkerHost
    ) -> None:
        image, directory = openvz_tarball(worker_host), worker_host.settings.images_dir
        beginning = threading.Barrier(2)

        def build(_number: int) -> tuple[Path, int]:
            beginning.wait()
            built = store.filesystem_of(directory, image, timeout_seconds=60, on_progress=lambda _part: None)
            return built, built.stat().st_ino

        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(build, range(2))
        assert first == second
        run("e2fsck", "-f", "-n", str(first[0]))
        assert list((directory / store.BUILT).iterdir()) == [first[0]]

    def test_what_a_killed_worker_left_goes_with_the_next_one(self, worker_host: WorkerHost) -> None:
        image, directory = openvz_tarball(worker_host), worker_host.settings.images_dir
        (directory / store.BUILT / ".unpack-x" / "root").mkdir(parents=True)
        (directory / store.BUILT / "x.draft").write_bytes(b"half")
        built = store.filesystem_of(directory, image, timeout_seconds=60, on_progress=lambda _part: None)
        assert list((directory / store.BUILT).iterdir()) == [built]

    def test_one_that_waits_too_long_for_another_says_so(self, worker_host: WorkerHost) -> None:
        image, directory = openvz_tarball(worker_host), worker_host.settings.images_dir
        with files.locked(directory / store.BUILDING), pytest.raises(DeadlinePassed, match="another image"):
            store.filesystem_of(directory, image, timeout_seconds=0.2, on_progress=lambda _part: None)

    @pytest.mark.parametrize(
        "members",
        [
            (member("../../etc/passwd"),),
            (member("/etc/passwd"),),
            (member("a/../../b"),),
            (member("evil", tarfile.SYMTYPE, linkname="/etc"), member("evil/passwd")),
            (member("evil", tarfile.SYMTYPE, linkname="/etc/passwd"), member("evil")),
            (member("x", tarfile.LNKTYPE, linkname="/etc/shadow"),),
            (member("x", tarfile.LNKTYPE, linkname="../../etc/shadow"),),
            (member("home/disk", tarfile.BLKTYPE, devmajor=8, devminor=0),),
            (member("a\nb"),),
            (),
        ],
    )
    def test_a_hostile_one_is_refused_before_anything_is_unpacked(
        self, tmp_path: Path, members: tuple[tarfile.TarInfo, ...]
    ) -> None:
        with pytest.raises(TemplateUnusable):
            tarball.look(make_tarball(tmp_path / "x.tar.gz", *members))

    def test_one_cut_short_is_refused(self, tmp_path: Path) -> None:
        path = make_tarball(tmp_path / "x.tar.gz", *(member(f"f{n}", size=99_999) for n in range(9)))
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(TemplateUnusable):
            tarball.look(path)

    def test_what_is_no_tarball_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.tar.gz").write_bytes(b"hello" * 1000)
        with pytest.raises(TemplateUnusable):
            tarball.look(tmp_path / "x.tar.gz")

    def test_a_failed_one_leaves_nothing(self, worker_host: WorkerHost) -> None:
        path = make_tarball(worker_host.settings.images_dir / "evil.tar.gz", member("../x"))
        image = ImageSpec(path.name, digest(path), "TARBALL", kernel="vmlinuz")
        machine = worker_host.machine(image)
        end = worker_host.do(worker_host.dom0(), "create", machine)
        assert (end.event, end.error_code) == ("FAILED", "IMAGE_UNUSABLE")
        assert worker_host.files_of(machine) == []
        assert list((worker_host.settings.images_dir / store.BUILT).iterdir()) == []


class TestDigest:
    def test_is_computed_once_and_again_when_the_file_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "x.img"
        path.write_bytes(b"a" * (3 << 20))
        told: list[float] = []
        assert store.digest_of(tmp_path, "x.img", on_progress=told.append) == digest(path)
        assert len(told) == 3
        assert told[-1] == 1.0
        store.digest_of(tmp_path, "x.img", on_progress=told.append)
        assert len(told) == 3
        assert store.known_digests(tmp_path) == {"x.img": digest(path)}
        path.write_bytes(b"b" * (3 << 20))
        assert store.known_digests(tmp_path) == {}
        assert store.unchecked(tmp_path) == ["x.img"]
        assert store.digest_of(tmp_path, "x.img", on_progress=told.append) == digest(path)

    def test_a_broken_cache_costs_time_only(self, tmp_path: Path) -> None:
        (tmp_path / "x.img").write_bytes(b"a")
        (tmp_path / store.DIGESTS).write_bytes(b"{{")
        assert store.digest_of(tmp_path, "x.img", on_progress=lambda _: None) == digest(tmp_path / "x.img")


class TestCopy:
    def test_holes_stay_holes_and_bytes_stay_bytes(self, tmp_path: Path) -> None:
        source, target = tmp_path / "a", tmp_path / "b"
        with source.open("wb") as out:
            out.seek(5 << 20)
            out.write(b"x" * 12345)
            out.write(b"\0" * (2 << 20))  # zeros that are no hole
            out.write(b"y")
            out.truncate(40 << 20)
        told: list[float] = []
        with source.open("rb") as a, target.open("w+b") as b:
            copy_sparse(a.fileno(), b.fileno(), on_progress=told.append)
            b.truncate(40 << 20)
        assert target.read_bytes() == source.read_bytes()
        assert target.stat().st_blocks * 512 < 2 << 20
        assert told == sorted(told)
        assert told[-1] == 1.0


@pytest.fixture
def full_worker_host(tmp_path: Path) -> Iterator[WorkerHost]:
    """A dom0 whose disks lie on a file system of 24 MiB."""
    worker_host = WorkerHost(tmp_path)
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(worker_host.settings.disks_dir)],
        check=False,
        capture_output=True,
    )
    if mount.returncode != 0:
        worker_host.close()
        pytest.skip("this machine lets nobody mount a tmpfs")
    worker_host.listen()
    yield worker_host
    worker_host.close()
    subprocess.run(["umount", "-l", str(worker_host.settings.disks_dir)], check=True)


class TestDiskFull:
    def test_says_so_and_leaves_no_partial_disk(self, full_worker_host: WorkerHost) -> None:
        worker_host = full_worker_host
        image = worker_host.template()
        path = worker_host.settings.images_dir / image.file
        with path.open("r+b") as out:
            out.seek(8 << 20)
            out.write(b"x" * (40 << 20))
        machine = worker_host.machine(
            changed(image, sha256=digest(path)), disks=(DiskSpec("root", "local", 60, "xvda"),)
        )
        end = worker_host.do(worker_host.dom0(), "create", machine)
        assert (end.event, end.error_code, end.is_retryable) == ("FAILED", "DISK_FULL", True)
        assert end.step == "DISK"
        assert "disk is full" in end.error_message
        assert worker_host.files_of(machine) == []
        assert list(worker_host.settings.disks_dir.iterdir()) == []
        assert worker_host.stand_in.runs() == []
