"""`python -m tests.bench.migrate`: a move through WebXen's relay against bare `xl migrate` over ssh.

On the two-host lab, the same PVH guest there and back in turn, ROUNDS times (5): total time, and the
blackout as the guest's own counter shows it (a number every 100 ms, each with the guest's uptime, out of
xenconsoled's logs on both hosts). MACHINE names a counting guest of an earlier run that still runs.
"""

import os
import statistics
import sys
import time

from tests.lab.moves import COUNT, Pair, Seat, longest_pause
from worker.contract import MachineSpec
from worker.lab import guests, lab

ROUNDS = int(os.environ.get("ROUNDS", "5"))
#: the counter goes on so long after a move, so that the first number on the target is there
REST_SECONDS = 5.0


def counts_of(seat: Seat, machine: MachineSpec) -> list[tuple[int, float]]:
    line = f"cat /var/log/xen/console/guest-{machine.domain}*.log"
    found = seat.host.run(line, timeout_seconds=120)
    return [(int(number), float(at)) for number, at in COUNT.findall(found.out)]


def pause_since(pair: Pair, machine: MachineSpec, number: int) -> tuple[float, int]:
    """The longest pause after this number, and the last number there is."""
    time.sleep(REST_SECONDS)
    counts = sorted({count for seat in (pair.a, pair.b) for count in counts_of(seat, machine)})
    return longest_pause([count for count in counts if count[0] >= number]), counts[-1][0]


def move_bare(machine: MachineSpec, source: Seat, target: Seat) -> float:
    """What an administrator does: make the disk visible, and `xl migrate`."""
    volume = f"shared/webxen-{machine.id}-root"
    target.host.run(["lvchange", "-ay", volume], timeout_seconds=300, check=True)
    began = time.monotonic()
    moved = source.host.run(["xl", "migrate", machine.domain, target.name], timeout_seconds=900)
    seconds = time.monotonic() - began
    assert moved.rc == 0, moved.error_text
    return seconds


def move_by_relay(pair: Pair, machine: MachineSpec, source: Seat, target: Seat) -> float:
    moved = pair.move(machine, source, target)
    assert (moved.source.event, moved.target.event) == ("SUCCEEDED", "SUCCEEDED"), moved
    return moved.seconds


def main() -> int:
    pair = Pair(lab.up(2, say=print))
    known = os.environ.get("MACHINE", "")
    if known:
        image = next(i for i in guests.build(print) if i.slug == "minimal")
        machine = pair.spec(image, type="PVH", memory_mib=128, machine_id=known)
    else:
        machine = pair.machine()
    here, there = (pair.b, pair.a) if machine.domain in pair.b.names() else (pair.a, pair.b)
    _, last = pause_since(pair, machine, 0)
    rows: dict[str, list[tuple[float, float]]] = {"WebXen": [], "bare xl": []}
    try:
        for number in range(ROUNDS):
            for way, found in rows.items():
                for source, target in ((here, there), (there, here)):
                    bare = way == "bare xl"
                    seconds = (
                        move_bare(machine, source, target)
                        if bare
                        else move_by_relay(pair, machine, source, target)
                    )
                    pause, last = pause_since(pair, machine, last)
                    found.append((seconds, pause))
                    print(f"round {number + 1} {way}: {seconds:.1f} s, blackout {pause:.2f} s", flush=True)
        tell(rows)
    finally:
        pair.close()
    return 0


def tell(rows: dict[str, list[tuple[float, float]]]) -> None:
    medians = {
        way: [statistics.median(column) for column in zip(*found, strict=True)] for way, found in rows.items()
    }
    for way, (seconds, pause) in medians.items():
        print(
            f"{way:10}{len(rows[way]):3} moves  median total {seconds:7.1f} s  median blackout {pause:6.2f} s"
        )
    total, blackout = (medians["WebXen"][index] / medians["bare xl"][index] for index in (0, 1))
    print(f"ratio: total {total:.2f}, blackout {blackout:.2f}")


if __name__ == "__main__":
    sys.exit(main())
