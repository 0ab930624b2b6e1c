"""`python -m tests.bench.migrate`: migration through WebXen's relay compared with `xl migrate` over ssh.

On the two-host lab, the same PVH guest is migrated there and back by each method in turn, ROUNDS times (5).
Measured are the total time, and the pause according to the guest's own counter (a number every 100 ms with
the guest's uptime, from xenconsoled's logs on both hosts) and to a ping from the first host every 200 ms. At
the end the recordings of WebXen's console services are checked for duplicate and missing numbers.

Meanwhile both dom0s have Xen's default weight (256; WEIGHT=4096: the lab's own). With the lab's weight, a
dom0 that is busy with a migration leaves the counting shell too little CPU time, and the counter's pause
overstates that of the guest. METHOD=SUSPENDED: a PV guest, which cannot migrate live, compared with `xl save`
and `xl restore` by hand.
"""

import itertools
import os
import re
import statistics
import sys
import time
from collections.abc import Iterable

from devtools.lab import lab
from tests.lab.moves import COUNT, Pair, Seat, longest_pause
from worker.contract import MachineSpec, NicSpec

ROUNDS = int(os.environ.get("ROUNDS", "5"))
IS_SUSPENDED = os.environ.get("METHOD") == "SUSPENDED"
SAVED = "/var/tmp/bench.save"
#: the counter runs on for this long after a migration, so that its first number on the target exists
REST_SECONDS = 5.0
BARE = "by hand" if IS_SUSPENDED else "bare xl"
#: sched-credit2's default (xl(1))
WEIGHT = int(os.environ.get("WEIGHT", "256"))
LAB_WEIGHT = 4096
#: on the LAN between the hosts
NIC = NicSpec(mac="00:16:3e:00:be:77", bridge="xenbr1", ipv4="10.99.0.77", prefix=24)
PING = f"nohup ping -D -i 0.2 {NIC.ipv4} >/tmp/ping.log 2>&1 & echo $!"
PONG = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from", re.MULTILINE)


def weigh(seats: Iterable[Seat], weight: int) -> None:
    """Set this weight for their dom0s."""
    for seat in seats:
        line = ["xl", "sched-credit2", "-d", "Domain-0", "-w", str(weight)]
        seat.host.run(line, timeout_seconds=60, check=True)


class Ping:
    """Pings the guest from the first host during the benchmark."""

    def __init__(self, seat: Seat) -> None:
        self._host = seat.host
        self._pid = self._host.run(PING, timeout_seconds=60, check=True).text.split()[-1]
        self._seen = 0

    def silence(self) -> float:
        """Return the longest time without an answer since the previous call."""
        log = self._host.run(["cat", "/tmp/ping.log"], timeout_seconds=60, check=True).text
        heard = [float(at) for at in PONG.findall(log)]
        fresh = heard[max(0, self._seen - 1) :]
        self._seen = len(heard)
        return max((later - earlier for earlier, later in itertools.pairwise(fresh)), default=float("nan"))

    def close(self) -> None:
        self._host.run(["kill", self._pid], timeout_seconds=60)


def counts_of(seat: Seat, machine: MachineSpec) -> list[tuple[int, float]]:
    line = f"cat /var/log/xen/console/guest-{machine.domain}*.log"
    found = seat.host.run(line, timeout_seconds=120)
    return [(int(number), float(at)) for number, at in COUNT.findall(found.out)]


def pause_since(pair: Pair, machine: MachineSpec, number: int) -> tuple[float, int]:
    """Return the longest pause after this number, and the last number."""
    time.sleep(REST_SECONDS)
    counts = sorted({count for seat in (pair.a, pair.b) for count in counts_of(seat, machine)})
    return longest_pause([count for count in counts if count[0] >= number]), counts[-1][0]


def move_bare(machine: MachineSpec, source: Seat, target: Seat) -> float:
    """The manual procedure: make the disk visible, then `xl migrate`."""
    volume = f"shared/webxen-{machine.id}-root"
    target.host.run(["lvchange", "-ay", volume], timeout_seconds=300, check=True)
    if IS_SUSPENDED:
        return move_by_hand(machine, source, target)
    began = time.monotonic()
    moved = source.host.run(["xl", "migrate", machine.domain, target.name], timeout_seconds=900)
    seconds = time.monotonic() - began
    assert moved.rc == 0, moved.error_text
    return seconds


def move_by_hand(machine: MachineSpec, source: Seat, target: Seat) -> float:
    """Return the seconds of `xl save` and `xl restore`.

    The file passes through this machine in between, because the lab's hosts allow each other only `xl
    migrate-receive`; the pauses of counter and ping include that.
    """
    began = time.monotonic()
    source.host.run(["xl", "save", machine.domain, SAVED], timeout_seconds=900, check=True)
    saved = time.monotonic() - began
    memory = source.host.run(f"cat {SAVED}; rm {SAVED}", timeout_seconds=900, check=True).out
    target.host.put_bytes(memory, SAVED)
    began = time.monotonic()
    target.host.run(["xl", "restore", SAVED], timeout_seconds=900, check=True)
    seconds = saved + time.monotonic() - began
    target.host.run(["rm", SAVED], timeout_seconds=60, check=True)
    return seconds


def move_by_relay(pair: Pair, machine: MachineSpec, source: Seat, target: Seat) -> float:
    moved = pair.move(machine, source, target, method="SUSPENDED" if IS_SUSPENDED else "LIVE")
    assert (moved.source.event, moved.target.event) == ("SUCCEEDED", "SUCCEEDED"), moved
    return moved.seconds


def main() -> int:
    pair = Pair(lab.up(2, say=print))
    machine = pair.machine(type="PV" if IS_SUSPENDED else "PVH", nics=(NIC,))
    here, there = pair.a, pair.b
    ping = Ping(here)
    _, last = pause_since(pair, machine, 0)
    ping.silence()
    rows: dict[str, list[tuple[float, float, float]]] = {"WebXen": [], BARE: []}
    weigh((here, there), WEIGHT)
    try:
        for number in range(ROUNDS):
            for way, found in rows.items():
                for source, target in ((here, there), (there, here)):
                    is_bare = way == BARE
                    move = move_bare if is_bare else lambda *ends: move_by_relay(pair, *ends)
                    seconds = move(machine, source, target)
                    pause, last = pause_since(pair, machine, last)
                    found.append((seconds, pause, ping.silence()))
                    told = "total {:.1f} s, blackout by counter {:.2f} s, by ping {:.2f} s".format(*found[-1])
                    print(f"round {number + 1} {way}, {source.name}→{target.name}: {told}", flush=True)
        tell(rows)
        tell_recording([seat.counts(machine) for seat in (here, there)])
        pair.power_off(machine)
    finally:
        weigh((here, there), LAB_WEIGHT)
        ping.close()
        pair.close()
    return 0


def tell(rows: dict[str, list[tuple[float, float, float]]]) -> None:
    medians = {
        way: [statistics.median(column) for column in zip(*found, strict=True)] for way, found in rows.items()
    }
    for way, (seconds, pause, silence) in medians.items():
        print(
            f"{way:10}{len(rows[way]):3} moves  medians: total {seconds:6.1f} s, blackout by counter"
            f" {pause:5.2f} s, by ping {silence:5.2f} s"
        )
    ratios = [ours / bare for ours, bare in zip(medians["WebXen"], medians[BARE], strict=True)]
    print(
        "ratios: total {:.2f}, blackout by counter {:.2f}, by ping {:.2f} (goal: at most 1.10)".format(
            *ratios
        )
    )


def tell_recording(recordings: list[list[tuple[int, float]]]) -> None:
    """Return the recordings of both hosts' console services, merged."""
    numbers = sorted(number for recording in recordings for number, _ in recording)
    missing = set(range(numbers[0], numbers[-1] + 1)) - set(numbers)
    doubled = [one for one, next_one in itertools.pairwise(numbers) if one == next_one]
    print(f"console: {len(numbers)} numbers up to {numbers[-1]}; missing {sorted(missing)}, twice {doubled}")


if __name__ == "__main__":
    sys.exit(main())
