"""What a seed holds: refused before anything is written, or written as meant and as nothing else.

The portal's signature is taken for granted: this is the second wall, behind a portal with a bug.
"""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.contract import CreateMachine, DiskSpec, ImageSpec, MachineSpec, NicSpec, SeedSpec
from worker.errors import OrderRefused
from worker.images import seed_files, seed_iso
from worker.job import order_checks

QUICK = settings(max_examples=100, deadline=None)
MACHINE = MachineSpec(
    id="0199a1e7-2e4a-4a2a-a363-405d99723003",
    domain="web-0199a1e7",
    vcpus=1,
    memory_mib=128,
    disks=(DiskSpec("root", "local", 16, "xvda"),),
    nics=(NicSpec("00:16:3e:00:00:01", "xenbr0", "10.0.2.101", 24, "10.0.2.2", "10.0.2.3"),),
    image=ImageSpec("minimal.ext4", "0" * 64, "FILESYSTEM", kernel="vmlinuz"),
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChuLlJ8u8VlIYyLKAcJMOlA2uCdIWwsqOAxWaABC alice@laptop"
HASH = "$6$saltsalt$" + "a" * 86
EVIL = st.text(max_size=40) | st.sampled_from(
    [
        "a\nroot::0:0::/:/bin/sh",
        "x\0",
        "\ud800",
        "\u2028",
        "$(reboot)",
        "a b",
        "a:b",
        "rm /etc/shadow\nx",
        "",
        "-",
    ]
)
SEEDS = st.builds(
    SeedSpec,
    hostname=st.just("alices-box")
    | st.just("b.example")
    | st.from_regex(order_checks.HOSTNAME, fullmatch=True)
    | EVIL,
    ssh_keys=st.lists(st.just(KEY) | EVIL, max_size=3).map(tuple),
    password_hash=st.sampled_from([HASH, "", "$y$j9T$a.b/c$d", "$1$a$b"]) | EVIL,
    user_data=st.just("") | EVIL,
)
#: what a guest's own files may hold: a template is trusted with its guest, not with ours
FILES = st.dictionaries(
    st.sampled_from(seed_files.PROBED_FILES),
    st.text(max_size=60)
    | st.sampled_from(
        [
            "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
            "daemon:*::\nrooty:x::\nroot\n",
            "/dev/sda1 / ext4 defaults 0 1\n/dev/simfs / simfs\nproc /proc proc\n",
            "id:2:initdefault:\nsi::sysinit:/etc/rc\n",
        ]
    ),
)


def is_taken(spec: SeedSpec) -> bool:
    order = CreateMachine(job_id=MACHINE.id, fence=1, machine=MACHINE, seed=spec, deadline_seconds=60)
    try:
        order_checks.check_order(order)
    except OrderRefused:
        return False
    return True


class TestSeed:
    @QUICK
    @given(SEEDS, FILES)
    def test_is_refused_or_written_as_meant(self, spec: SeedSpec, texts: dict[str, str]) -> None:
        if not is_taken(spec):
            return
        present = dict.fromkeys([*seed_files.PROBED_DIRECTORIES, *texts, *seed_files.GETTIES], (0o644, 0, 0))
        found = seed_files.Found(texts, present)
        files = {file.path: file for file in seed_files.plan(spec, MACHINE, found, root_device="/dev/xvda")}
        for file in files.values():
            file.content.encode(errors="surrogateescape")
            assert " " not in file.path
            assert "\n" not in file.path
        assert files["/etc/hostname"].content.split("\n") == [spec.hostname, ""]
        self.look_at_plain_lines(files, spec)
        if spec.password_hash:
            self.look_at_shadow(files["/etc/shadow"].content, texts.get("/etc/shadow", ""), spec)

    @staticmethod
    def look_at_plain_lines(files: dict[str, Any], spec: SeedSpec) -> None:
        for line in files["/etc/webxen/seed.env"].content.splitlines():
            name, _, value = line.partition("=")
            assert name.isalnum()
            # nothing a shell would do anything with
            assert set(value) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
        assert len(files["/etc/hosts"].content.split("\n")) == 4
        if spec.ssh_keys:
            assert files["/root/.ssh/authorized_keys"].content.split("\n") == [*spec.ssh_keys, ""]
        roots = [line.split() for line in files["/etc/fstab"].content.split("\n")]
        assert [fields[0] for fields in roots if fields[1:2] == ["/"] and fields[0][0] != "#"] == [
            "/dev/xvda"
        ]

    @staticmethod
    def look_at_shadow(shadow: str, before: str, spec: SeedSpec) -> None:
        lines, old = shadow.splitlines(), before.splitlines()
        theirs = [line for line in lines if line.split(":")[0] == "root" and ":" in line]
        assert theirs[0].split(":")[1] == spec.password_hash
        # whoever else had a line has it still
        assert [line for line in lines if line.split(":")[0] != "root"] == [
            line for line in old if line.split(":")[0] != "root"
        ]

    @QUICK
    @given(SEEDS)
    def test_on_a_disk_of_its_own_is_refused_or_reads_back(self, spec: SeedSpec) -> None:
        if not is_taken(spec):
            return
        texts = seed_iso.texts(spec, MACHINE)
        assert json.loads(texts["meta-data"])["local-hostname"] == spec.hostname
        assert all(text.encode() for text in texts.values())
        if not spec.user_data:
            told = json.loads(texts["user-data"].partition("\n")[2])
            assert told["users"][0]["ssh_authorized_keys"] == list(spec.ssh_keys)
        else:
            assert texts["user-data"] == spec.user_data

    def test_an_ordinary_one_is_taken(self) -> None:
        assert is_taken(SeedSpec("alices-box", (KEY,), HASH, "#cloud-config\n"))
