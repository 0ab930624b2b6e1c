"""Two real dom0s of the lab and the portal's side of a move between them.

The worker's agent, relay and console services run in each dom0 as on any host; the place of listener and
broker is taken by one small program a dom0 that hands envelopes in and prints what comes back.
"""

import dataclasses
import itertools
import json
import queue
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

from devtools.lab import guests
from devtools.lab.host import LabHost
from worker.contract import (
    ENDS,
    CancelJob,
    CreateMachine,
    DiskSpec,
    ImageSpec,
    MachineSpec,
    MigrateMachine,
    MoveMethod,
    NicSpec,
    Observation,
    Order,
    PoweroffMachine,
    ReceiveMachine,
    Report,
    SeedSpec,
    open_envelope,
    seal,
)
from worker.identity import keys

#: what takes the place of listener and broker: envelopes from standard input to the agent, its messages out
SEAT = """
import sys, threading
from pathlib import Path
from worker.ipc import local_socket
path = Path("/run/webxen/agent.sock")
lock = threading.Lock()
def publish(word, envelope):
    with lock:
        print(word.name, envelope, flush=True)
    return True
def carry():
    while True:
        try:
            local_socket.fetch(path, publish, is_over=lambda: False)
        except (local_socket.AgentUnavailable, local_socket.BadFrame):
            threading.Event().wait(1.0)
threading.Thread(target=carry, daemon=True).start()
for line in sys.stdin:
    while True:
        try:
            word = local_socket.hand_in(path, line.strip())
            break
        except local_socket.AgentUnavailable:
            threading.Event().wait(1.0)
    with lock:
        print("SAID", word.name, flush=True)
"""
#: makes the volume group one that both hosts take turns at
SHARE = """
import os
from worker import settings, storage
config = settings.read({**os.environ, "WEBXEN_HOST": "xen1", "WEBXEN_LVM_POOLS": "shared",
    "WEBXEN_HOST_NUMBER": "1"}, needs_broker=False)
config.make_directories()
storage.find_shareable(config, "shared").share()
"""
COUNT = re.compile(rb"CNT (\d+) (\d+\.\d\d)\r")
GROUP = "shared"


class Seat:
    """A dom0 whose agent obeys this test."""

    def __init__(self, host: LabHost, portal: bytes) -> None:
        self.host, self.name = host, host.name
        self._sign = keys.signer(portal)
        private, self._public = keys.generate()
        self.reports: list[Report] = []
        self.seen: queue.Queue[Observation] = queue.Queue()
        host.push_worker()
        host.configure(
            {"WEBXEN_BROKER_URL": "redis://127.0.0.1:1/0", "WEBXEN_LVM_POOLS": GROUP}
            | {"WEBXEN_HOST_NUMBER": host.name.removeprefix("xen")},
            {"/etc/webxen/host.key": private, "/etc/webxen/portal.pub": keys.public_of(portal)},
        )
        # Nobody is at the other end of a listener here.
        host.run("rm -f /etc/webxen/services/listener /etc/webxen/sha256", check=True)
        host.restart_services()
        self._process = subprocess.Popen(
            [*host.ssh_argv(), f"cd /opt/webxen && PYTHONPATH=.:lib exec python3 -uc '{SEAT}'"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def _listen(self) -> None:
        verify = keys.verifier(self._public)
        for line in self._process.stdout or ():
            word, _, envelope = line.strip().partition(" ")
            if word not in ("REPORT", "OBSERVATION"):
                continue
            message = open_envelope(envelope, host=self.name, verify=verify, now=0).message
            if isinstance(message, Report):
                self.reports.append(message)
            elif isinstance(message, Observation):
                self.seen.put(message)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listening.join(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self.host.stop_services()

    # --- orders --------------------------------------------------------------------------------

    def give(self, order: Order) -> None:
        envelope = seal(order, host=self.name, sign=self._sign, not_after=int(time.time()) + 3600)
        assert self._process.stdin is not None
        self._process.stdin.write(envelope + "\n")
        self._process.stdin.flush()

    def end_of(self, job_id: str, *, seconds: float = 900) -> Report:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            ends = [r for r in self.reports if r.job_id == job_id and r.event in ENDS]
            if ends:
                return ends[-1]
            time.sleep(0.05)
        raise AssertionError(f"{self.name}: no end of {job_id}; heard {self.reports[-5:]}")

    def port_for(self, job_id: str, *, seconds: float = 400) -> int:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            mine = [report for report in self.reports if report.job_id == job_id]
            if port := max((report.move.port for report in mine if report.move), default=0):
                return port
            assert not [report for report in mine if report.event in ENDS], mine[-1]
            time.sleep(0.05)
        raise AssertionError(f"{self.name}: does not listen for {job_id}: {self.reports[-3:]}")

    def observe(self, *, seconds: float = 400) -> Observation:
        """The next observation with a relay in it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.seen.get(timeout=seconds)
            if found.relay_certificate:
                return found
        raise AssertionError(f"{self.name} shows no relay")

    # --- looking -------------------------------------------------------------------------------

    def counts(self, machine: MachineSpec) -> list[tuple[int, float]]:
        """What consoled has recorded of the guest's counter: number, its own uptime."""
        log = f"/var/lib/webxen/console/{machine.id}.log"
        found = self.host.run(["cat", log], timeout_seconds=60)
        return [(int(number), float(at)) for number, at in COUNT.findall(found.out)]

    def names_of(self, machine: MachineSpec) -> list[str]:
        """What `xl list` has of this machine, under whatever name a move gives it; others may run, too."""
        lines = self.host.run(["xl", "list"], timeout_seconds=60, check=True).text.splitlines()
        return [name for name in (line.split()[0] for line in lines[1:]) if name.startswith(machine.domain)]


@dataclasses.dataclass
class Moved:
    """A move as the portal would see it."""

    source: Report
    target: Report
    seconds: float


class Pair:
    """Both dom0s, one volume group, one portal."""

    def __init__(self, hosts: list[LabHost]) -> None:
        portal, _ = keys.generate()
        hosts[0].push_worker()
        hosts[0].run(
            ["sh", "-c", f"cd /opt/webxen && PYTHONPATH=.:lib python3 -c '{SHARE}'"],
            timeout_seconds=300,
            check=True,
        )
        self.a, self.b = (Seat(host, portal) for host in hosts)
        #: above whatever an earlier pair has used
        self.fence = int(time.time())
        self._relays: Mapping[str, Observation] = {seat.name: seat.observe() for seat in (self.a, self.b)}

    def machine(
        self, *, type: str = "PVH", memory_mib: int = 128, nics: tuple[NicSpec, ...] = ()
    ) -> MachineSpec:
        """A guest that counts on its console, on the first host."""
        image = next(i for i in guests.build(print, is_debian_wanted=True) if i.slug == "minimal")
        for seat in (self.a, self.b):
            guests.install(seat.host, [image], print)
        spec = self.spec(image, type=type, memory_mib=memory_mib, nics=nics)
        self.fence += 1
        job = CreateMachine(str(uuid.uuid4()), self.fence, spec, SeedSpec("counter"), deadline_seconds=900)
        self.a.give(job)
        end = self.a.end_of(job.job_id, seconds=900)
        assert end.event == "SUCCEEDED", end
        return spec

    def spec(
        self,
        image: guests.GuestImage,
        *,
        type: str,
        memory_mib: int,
        machine_id: str = "",
        nics: tuple[NicSpec, ...] = (),
    ) -> MachineSpec:
        machine_id = machine_id or str(uuid.uuid4())
        return MachineSpec(
            id=machine_id,
            domain=f"mv-{machine_id[:8]}",
            vcpus=1,
            memory_mib=memory_mib,
            disks=(DiskSpec("root", GROUP, 32, "xvda"),),
            nics=nics,
            image=ImageSpec(
                file=image.file,
                sha256=image.sha256,
                format="FILESYSTEM",
                kernel=image.kernel,
                ramdisk=image.ramdisk,
                extra="console=hvc0 quiet webxen.counter",
            ),
            type=type,  # type: ignore[arg-type]
        )

    def move(
        self,
        machine: MachineSpec,
        source: Seat,
        target: Seat,
        *,
        method: MoveMethod = "LIVE",
        **values: Any,
    ) -> Moved:
        self.fence += 1
        began = time.monotonic()
        job_id = str(uuid.uuid4())
        here, there = self._relays[source.name], self._relays[target.name]
        target.give(
            ReceiveMachine(
                job_id, self.fence, machine, source.name, here.relay_certificate, method, deadline_seconds=900
            )
        )
        port = target.port_for(job_id)
        source.give(
            MigrateMachine(
                job_id,
                self.fence,
                machine,
                target.name,
                there.relay_address,
                port,
                there.relay_certificate,
                method,
                deadline_seconds=900,
                **values,
            )
        )
        end = source.end_of(job_id)
        if end.error_code == "MOVE_REFUSED":
            # nobody will come: the portal takes the order back where a host waits for another
            target.give(CancelJob(job_id, self.fence, machine))
        ends = Moved(end, target.end_of(job_id), time.monotonic() - began)
        print(
            f"{source.name}→{target.name} {method} {ends.seconds:.1f} s"
            f" {json.dumps(dataclasses.asdict(ends.source.move) if ends.source.move else None)[:600]}"
        )
        return ends

    def power_off(self, machine: MachineSpec) -> None:
        for seat in (self.a, self.b):
            self.fence += 1
            order = PoweroffMachine(str(uuid.uuid4()), self.fence, machine, deadline_seconds=120)
            seat.give(order)
            seat.end_of(order.job_id)

    def close(self) -> None:
        self.a.close()
        self.b.close()


def longest_pause(*recordings: list[tuple[int, float]]) -> float:
    """The longest time between two numbers on any host, by the guest's own clock."""
    counts = sorted({count for recording in recordings for count in recording})
    return max((later[1] - earlier[1] for earlier, later in itertools.pairwise(counts)), default=0.0)


def is_without_gap(first: list[tuple[int, float]], then: list[tuple[int, float]]) -> bool:
    """Do both recordings together hold every number once the counting began?"""
    numbers = {number for number, _ in [*first, *then]}
    return numbers == set(range(min(numbers), max(numbers) + 1))
