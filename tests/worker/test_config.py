"""Writing xl.cfg: what is not on the list is refused, what is written is read back by Xen's own parser."""

import dataclasses

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.contract import BadFeatures, DiskSpec, ImageSpec, MachineSpec, NicSpec
from worker.xen import config, libxlutil

needs_xlutil = pytest.mark.skipif(
    not libxlutil.library_path(),
    reason="Xen's parser is not installed: apt-get install libxenmisc4.17 or 4.20",
)
KERNEL = "/var/lib/webxen/kernels/vmlinux-6.12"
PATHS = {"d1": "/var/lib/webxen/disks/m/d1.img"}
MACHINE = MachineSpec(
    id="0199a1e7-2e4a-4a2a-a363-405d99723003",
    domain="alice-web1",
    vcpus=2,
    memory_mib=512,
    disks=(DiskSpec("d1", "local", 1024, "xvda"),),
    nics=(NicSpec("00:16:3e:00:00:01", "xenbr0", "10.0.2.101", 24, "10.0.2.2", "10.0.2.3"),),
    image=ImageSpec("minimal-1.ext4", "0" * 64, "FILESYSTEM"),
)


def keys(machine: MachineSpec = MACHINE, **more: str) -> config.Keys:
    return config.keys_of(
        machine,
        virt_type="PVH",
        kernel_path=more.get("kernel_path", KERNEL),
        ramdisk_path=more.get("ramdisk_path", ""),
        disk_paths={disk.id: more.get("disk_path", PATHS["d1"]) for disk in machine.disks},
        seed_path=more.get("seed_path", ""),
    )


BAD_WORDS = ["a'b", 'a"b', "$(x)", "a\\b", "a;b", "a#b", "a\nb", "a\0b", "a  b", " a"]


class TestWriting:
    def test_an_ordinary_machine(self) -> None:
        assert config.write(keys(seed_path="/var/lib/webxen/disks/m/seed.iso")) == (
            "name = 'alice-web1'\n"
            "uuid = '0199a1e7-2e4a-4a2a-a363-405d99723003'\n"
            "type = 'pvh'\n"
            "memory = 512\n"
            "maxmem = 512\n"
            "vcpus = 2\n"
            "kernel = '/var/lib/webxen/kernels/vmlinux-6.12'\n"
            "root = '/dev/xvda ro'\n"
            "extra = 'console=hvc0'\n"
            "disk = [ 'format=raw,vdev=xvda,access=rw,target=/var/lib/webxen/disks/m/d1.img', "
            "'format=raw,vdev=xvdz,access=ro,target=/var/lib/webxen/disks/m/seed.iso' ]\n"
            "vif = [ 'mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.0.2.101' ]\n"
            "on_poweroff = 'destroy'\n"
            "on_reboot = 'restart'\n"
            "on_crash = 'destroy'\n"
        )

    def test_what_is_hidden_is_taken_away_bit_by_bit(self) -> None:
        text = "00000001:80000000:00000000:00000000:00000000:000c0000:80000000:00000000"
        hidden = dataclasses.replace(MACHINE, cpu_hidden=text)
        assert keys(hidden)["cpuid"] == (
            f"0x1:edx={'x' * 31}0",  # word 1's bit 31 says that it is a guest: never hidden
            f"0x7,0:ebx={'x' * 12}00{'x' * 18},ecx=0{'x' * 31}",
        )

    @pytest.mark.parametrize("words", ["0", "x" * 71, "00000000:" * 8, "'; kernel='/bin/sh"])
    def test_what_are_no_words_of_features_is_refused(self, words: str) -> None:
        with pytest.raises(BadFeatures):
            keys(dataclasses.replace(MACHINE, cpu_hidden=words))

    @pytest.mark.parametrize(
        "name",
        [
            *(
                "",
                "x' bootloader='/bin/sh",
                'x"',
                "a\\",
                "a\n",
                "a\0",
                "a b",
                "-h",
                "007",
                "0",
                "(null)",
                "é",
            ),
            *("Domain-0", "xen", "a--migratedaway", "a--incoming", "a" * 64, "a;b", "a#", "../a", "a\u2028"),
        ],
    )
    def test_refuses_names_xl_or_a_shell_would_read_otherwise(self, name: str) -> None:
        with pytest.raises(config.RefusedValue):
            keys(dataclasses.replace(MACHINE, domain=name))

    @pytest.mark.parametrize(
        "path",
        [
            *(
                "relative/x.img",
                "/a/../etc/shadow",
                "/a//b",
                "/a,script=/bin/sh",
                "/a'b",
                "/a b",
                "/a\\b",
                "",
            ),
            *("/a:b", "nbd:/x", "phy:/dev/sda", "/a\n", "/a/.", "/a/...", "/a/..b", "/dev/é"),
        ],
    )
    def test_refuses_disk_paths_outside_the_pattern(self, path: str) -> None:
        with pytest.raises(config.RefusedValue):
            config.write(keys(disk_path=path))

    def test_takes_a_disk_below_a_hidden_folder(self) -> None:
        assert "/home/alice/.webxen/a.img" in config.write(keys(disk_path="/home/alice/.webxen/a.img"))

    @pytest.mark.parametrize(
        "extra", ["a'b", 'a"b', "a\\b", "a;b", "a#b", "a\nb", "a\0b", "a  b", " a", "$(x)"]
    )
    def test_refuses_kernel_words_that_mean_something_to_a_parser(self, extra: str) -> None:
        image = dataclasses.replace(MACHINE.image, extra=extra)
        with pytest.raises(config.RefusedValue):
            config.write(keys(dataclasses.replace(MACHINE, image=image)))

    @pytest.mark.parametrize(
        "nic",
        [
            NicSpec("00:16:3e:00:00:01,script=/x", "xenbr0"),
            NicSpec("01:16:3e:00:00:01", "xenbr0"),
            NicSpec("00:16:3E:00:00:01", "xenbr0"),
            NicSpec("00:16:3e:00:00:01", "br0,script=/x"),
            NicSpec("00:16:3e:00:00:01", ""),
            NicSpec("00:16:3e:00:00:01", "xenbr0", "10.0.0.1,script=/x"),
            NicSpec("00:16:3e:00:00:01", "xenbr0", "010.0.0.1"),
        ],
    )
    def test_refuses_network_cards_that_carry_more_than_they_say(self, nic: NicSpec) -> None:
        with pytest.raises(config.RefusedValue):
            keys(dataclasses.replace(MACHINE, nics=(nic,)))

    @pytest.mark.parametrize("memory", [0, -1, True, 1 << 40])
    def test_refuses_memory_that_is_no_amount(self, memory: int) -> None:
        with pytest.raises(config.RefusedValue):
            keys(dataclasses.replace(MACHINE, memory_mib=memory))

    def test_refuses_keys_that_are_not_on_the_list(self) -> None:
        with pytest.raises(config.RefusedValue):
            config.write({**keys(), "bootloader": "/bin/sh"})
        with pytest.raises(config.RefusedValue):
            config.write({**keys(), "device_model_args": ("-x",)})

    def test_refuses_a_disk_without_a_path_and_a_path_without_a_disk(self) -> None:
        for paths in ({}, {"d1": "/a", "d2": "/b"}, {"d2": "/b"}):
            with pytest.raises(config.RefusedValue):
                config.keys_of(MACHINE, virt_type="PV", kernel_path=KERNEL, disk_paths=paths)

    def test_refuses_two_disks_in_one_place(self) -> None:
        twice = (DiskSpec("d1", "local", 1, "xvda"), DiskSpec("d2", "local", 1, "xvda"))
        with pytest.raises(config.RefusedValue):
            keys(dataclasses.replace(MACHINE, disks=twice))

    def test_refuses_a_machine_without_a_kernel(self) -> None:
        with pytest.raises(config.RefusedValue):
            config.write(keys(kernel_path=""))


NASTY = st.text(alphabet="ab1 /.,=:;#+-_'\"\\\n\r\0[]()$é\u2028%@", max_size=12)


def mostly(good: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return good | NASTY | st.builds(lambda left, right: left + right, good, NASTY)


NICS = st.builds(
    NicSpec,
    mac=mostly(st.just("00:16:3e:00:00:01")),
    bridge=mostly(st.sampled_from(["xenbr0", "br-lan"])),
    ipv4=mostly(st.sampled_from(["", "10.0.2.101"])),
)
IMAGES = st.builds(
    ImageSpec,
    file=st.just("i"),
    sha256=st.just("0" * 64),
    format=st.just("FILESYSTEM"),
    root=mostly(st.sampled_from(["/dev/xvda ro", "", "UUID=a-b"])),
    extra=mostly(st.sampled_from(["console=hvc0", "", "quiet ip=10.0.0.2:a:b"])),
)
MACHINES = st.builds(
    MachineSpec,
    id=mostly(st.just(MACHINE.id)),
    domain=mostly(st.sampled_from(["a", "web-1.x"])),
    vcpus=st.integers(-1, 600),
    memory_mib=st.integers(-1, 1 << 25),
    disks=st.lists(
        st.builds(
            DiskSpec, st.just("d1"), st.just("p"), st.just(1), mostly(st.sampled_from(["xvda", "hda1"]))
        ),
        max_size=1,
    ).map(tuple),
    nics=st.lists(NICS, max_size=2).map(tuple),
    image=IMAGES,
)


@needs_xlutil
class TestReadingBack:
    @settings(max_examples=600, deadline=None)
    @given(machine=MACHINES, path=mostly(st.just("/a/b.img")), kernel=mostly(st.just("/k")))
    @example(machine=MACHINE, path="/a/b.img", kernel="/k")
    def test_refused_or_read_back_by_xen_exactly_as_meant(
        self, machine: MachineSpec, path: str, kernel: str
    ) -> None:
        try:
            meant = keys(machine, disk_path=path, kernel_path=kernel)
            text = config.write(meant)
        except config.RefusedValue:
            return
        found = libxlutil.parse(text.encode())
        assert found is not None
        assert config.differences(meant, found) == []

    def test_a_difference_is_told(self) -> None:
        found = libxlutil.parse(config.write(keys()).encode() + b"bootloader = '/bin/sh'; vcpus = 4\n")
        assert found is not None
        assert config.differences(keys(), found) == [
            "bootloader: None was written, '/bin/sh' was read",
            "vcpus: '2' was written, '4' was read",
        ]

    def test_the_parsers_own_words_come_with_an_error(self) -> None:
        with pytest.raises(config.BadConfig, match=r"x\.cfg:1: config parsing error near"):
            libxlutil.parse(b"name = 'a' 'b'\n", source="x.cfg")

    def test_a_nul_byte_is_refused_before_it_aborts_the_parser(self) -> None:
        with pytest.raises(config.BadConfig):
            libxlutil.parse(b"name = 'a\0b'\n")
