"""Where the contract suite runs xl: the stand-in on this machine, or a real dom0 of the lab."""

import base64
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from devtools.fakexl import Settings, StandIn
from devtools.lab.host import LabHost
from worker import shell

#: sits at a console: writes, waits for an answer, writes …; prints all it saw
SEAT = """
import base64, json, os, select, sys, time
tty, talk, seconds = sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3])
fd = os.open(tty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
seen, end = b"", time.monotonic() + seconds
for typed, awaited in talk:
    begun = len(seen) if typed else 0
    os.write(fd, typed.encode())
    while awaited.encode() not in seen[begun:] and time.monotonic() < end:
        if select.select([fd], [], [], 0.5)[0]:
            try:
                seen += os.read(fd, 65536)
            except BlockingIOError:
                pass
print(json.dumps({"seen": base64.b64encode(seen).decode(), "is_done": time.monotonic() < end}))
"""


class Place(Protocol):
    """A host with an xl. Paths are paths there."""

    folder: str
    kernel: str
    ramdisk: str

    def run(self, argv: Sequence[str]) -> shell.Result: ...

    def xl(self, *arguments: str) -> shell.Result: ...

    def xenstore(self, verb: str, path: str) -> shell.Result: ...

    def put(self, name: str, data: bytes) -> str: ...

    def disk(self, name: str) -> str: ...

    def sit(self, tty: str, talk: list[tuple[str, str]]) -> bytes: ...


def listed(place: Place) -> list[str]:
    """Names on `xl list`, without Domain-0."""
    result = place.xl("list")
    assert result.rc == 0, result.error_text
    return [line.split()[0] for line in result.text.splitlines()[2:]]


def wait_until_gone(place: Place, name: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while name in listed(place):
        assert time.monotonic() < deadline, f"{name} is still there"
        time.sleep(0.3)


def write_cfg(place: Place, name: str, uuid: str, /, **values: str) -> str:
    keys = {
        "name": f"'{name}'",
        "uuid": f"'{uuid}'",
        "type": "'pvh'",
        "memory": "128",
        "maxmem": "128",
        "vcpus": "1",
        "kernel": f"'{place.kernel}'",
        "ramdisk": f"'{place.ramdisk}'",
        "root": "'/dev/xvda rw'",
        "extra": "'console=hvc0'",
        "disk": "[ ]",
        "vif": "[ ]",
        **values,
    }
    text = "".join(f"{key} = {value}\n" for key, value in keys.items() if value)
    return place.put(f"{name}.cfg", text.encode())


class StandInPlace:
    """The stand-in xl in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.host = StandIn.at(folder, Settings(boot_seconds=0.2, bridges="xenbr0", total_memory_mib=2048))
        self.folder = str(self.host.directory)
        self.kernel, self.ramdisk = self.put("vmlinux", b""), self.put("initrd", b"")

    def run(self, argv: Sequence[str]) -> shell.Result:
        return shell.run(argv, timeout_seconds=60)

    def xl(self, *arguments: str) -> shell.Result:
        return self.run([self.host.xl, *arguments])

    def xenstore(self, verb: str, path: str) -> shell.Result:
        return self.run([str(self.host.programs / f"xenstore-{verb}"), path])

    def put(self, name: str, data: bytes) -> str:
        path = self.host.directory / name
        path.write_bytes(data)
        return str(path)

    def disk(self, name: str) -> str:
        return self.put(f"{name}.img", bytes(1 << 20))

    def sit(self, tty: str, talk: list[tuple[str, str]]) -> bytes:
        return _told(self.run([sys.executable, "-c", SEAT, tty, json.dumps(talk), "30"]))

    def close(self) -> None:
        self.host.power_off()
        shutil.rmtree(self.folder)


class LabPlace:
    """The real xl in the lab's first dom0; only domains named ct-… are touched."""

    folder = "/var/lib/webxen/contract"

    def __init__(self, host: LabHost, *, image: str, kernel: str, ramdisk: str) -> None:
        self.host = host
        self.kernel, self.ramdisk = f"/var/lib/webxen/kernels/{kernel}", f"/var/lib/webxen/kernels/{ramdisk}"
        # An image without its seed lets nobody in: give root an empty password.
        open_door = (
            f"set -e; mkdir -p {self.folder}; cd {self.folder}; "
            f"cp --sparse=always /var/lib/webxen/images/{image} template.img; "
            "printf 'root::19000:0:99999:7:::\\n' > shadow; "
            "printf 'cd /etc\\nrm shadow\\nwrite shadow shadow\\n' | debugfs -w -f - template.img"
        )
        self.host.run(open_door, timeout_seconds=120, check=True)

    def run(self, argv: Sequence[str]) -> shell.Result:
        return self.host.run(argv, timeout_seconds=180)

    def xl(self, *arguments: str) -> shell.Result:
        return self.run(["xl", *arguments])

    def xenstore(self, verb: str, path: str) -> shell.Result:
        return self.run([f"xenstore-{verb}", path])

    def put(self, name: str, data: bytes) -> str:
        self.host.put_bytes(data, f"{self.folder}/{name}", mode=0o644)
        return f"{self.folder}/{name}"

    def disk(self, name: str) -> str:
        target = f"{self.folder}/{name}.img"
        self.host.run(["cp", "--sparse=always", f"{self.folder}/template.img", target], check=True)
        return target

    def sit(self, tty: str, talk: list[tuple[str, str]]) -> bytes:
        return _told(
            self.host.run(["python3", "-c", SEAT, tty, json.dumps(talk), "150"], timeout_seconds=170)
        )

    def close(self) -> None:
        for name in listed(self):
            if name.startswith("ct-"):
                self.xl("destroy", name)
                wait_until_gone(self, name)
        self.host.run(["rm", "-r", self.folder], check=True)


def _told(result: shell.Result) -> bytes:
    assert result.rc == 0, result.error_text
    told = json.loads(result.text)
    seen = base64.b64decode(told["seen"])
    assert told["is_done"], f"the console said no more than {seen[-2000:]!r}"
    return seen
