"""Create and delete killed on real Xen, at six points each: `python -m tests.chaos.real`, with the lab
running.
"""

import json
import sys
from pathlib import Path

from devtools.lab import guests, lab
from devtools.lab.host import LabHost

SCRIPT = Path(__file__).with_name("in_dom0.py")
STATE = "/var/lib/webxen/chaos"


def main() -> int:
    host = lab.up(say=print)[0]
    built = guests.build(print)
    guests.install(host, built, print)
    host.push_worker()
    image = next(row.as_row() for row in built if row.as_row()["slug"] == "minimal")
    return _run(host, image)


def _run(host: LabHost, image: dict[str, object]) -> int:
    host.put_bytes(SCRIPT.read_bytes(), "/root/chaos.py")
    # only what an earlier run of this script left; its machines have ids of their own
    host.run(["rm", "-rf", STATE], check=True)
    argv = ["env", "PYTHONPATH=/opt/webxen:/opt/webxen/lib", "python3", "/root/chaos.py", json.dumps(image)]
    result = host.run(argv, timeout_seconds=3000)
    wrong = result.rc != 0
    print(f"{'killed on real Xen at':<48} {'reached':>8} {'ended':>10} {'s':>7}  wrong")
    for line in map(json.loads, result.text.splitlines()):
        end = line["end"]["event"] if line["end"] else "never"
        if end == "FAILED":  # an emulated guest dies now and then; only remnants count
            line["wrong"].append(f"({line['end']['error_code']})")
        name = f"{line['verb']}: {line['point']}"
        print(f"{name:<48} {line['reached']!s:>8} {end:>10} {line['seconds']:>7}  {'; '.join(line['wrong'])}")
        wrong = wrong or end == "never" or any(not said.startswith("(") for said in line["wrong"])
    if result.rc:
        print(result.error_text[-3000:])
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
