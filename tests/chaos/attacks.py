"""`make attacks`: try every attack of docs/faults.md and print the results as a table.

The page names the expected answers and the tests. Each row shows how many attempts were answered as
documented.
"""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]
LEAN = ("-p", "no:schemathesis", "-p", "no:anyio", "-p", "no:valkey")
ON_A_DOM0 = ("-c", "tests/worker/pytest.ini", "-p", "tests.without_django", "-p", "no:django", *LEAN)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
NOT_PASSED = ("failure", "error", "skipped")
#: by name: in one file, in any class
Name = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """One row of the page's second table."""

    number: str
    attack: str
    answer: str
    tests: tuple[Name, ...]
    elsewhere: str

    def tell(self, results: dict[Name, Counter[str]]) -> str:
        told = sum((results.get(name, Counter()) for name in self.tests), Counter[str]())
        tried, held = sum(told.values()), told["passed"]
        said = f"{held} of {tried}" if self.tests else self.elsewhere
        return f"{self.number:<10} {self.attack[:70]:<70} {self.answer[:86]:<86} {said}"

    def is_held(self, results: dict[Name, Counter[str]]) -> bool:
        return all(results.get(name) and set(results[name]) == {"passed"} for name in self.tests)


def rows(page: str) -> list[Row]:
    """The rows of the page's section on attacks."""
    found = []
    for line in page.partition("\n## Attacks\n")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 4 and re.match(r"b\d", cells[0]):
            number, attack, answer, tried = cells
            tests = tuple(NAMED.findall(tried))
            found.append(Row(number, attack, answer, tests, "" if tests else tried.replace("`", "")))
    return found


def run(names: Iterable[Name], *how: str) -> dict[Name, Counter[str]]:
    """Numbers of passed, failed and skipped runs of each of these tests."""
    wanted = sorted(set(names))
    files = sorted({path for path, _ in wanted})
    with tempfile.TemporaryDirectory(prefix="wxattacks-") as directory:
        report = Path(directory) / "report.xml"
        which = " or ".join(sorted({name for _, name in wanted}))
        argv = [sys.executable, "-m", "pytest", "-q", "-n", "2", *how, "-k", which, f"--junitxml={report}"]
        subprocess.run([*argv, *files], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        cases = ET.parse(report).iter("testcase")
        results: dict[Name, Counter[str]] = {}
        for case in cases:
            name = case.get("name", "").partition("[")[0]
            module = case.get("classname", "")
            path = next((path for path, known in wanted if known == name and _is_in(module, path)), None)
            if path:
                results.setdefault((path, name), Counter())[_end_of(case)] += 1
                _print_if_not_passed(path, case)
    return results


def _print_if_not_passed(path: str, case: ET.Element) -> None:
    """The table only counts; this names the attempt and what it saw."""
    for child in case:
        if child.tag in NOT_PASSED:
            message = " ".join(child.get("message", "").split())
            print(f"{child.tag}: {path}::{case.get('name')}: {message[:300]}", flush=True)


def _is_in(module: str, path: str) -> bool:
    return f".{Path(path).stem}." in f".{module}."


def _end_of(case: ET.Element) -> str:
    ends = {child.tag for child in case}
    return next((end for end in NOT_PASSED if end in ends), "passed")


def main() -> int:
    table = rows((ROOT / "docs/faults.md").read_text())
    names = {name for row in table for name in row.tests}
    on_a_dom0 = {name for name in names if name[0].startswith("tests/worker/")}
    results = run(names - on_a_dom0) | run(on_a_dom0, *ON_A_DOM0)
    print(f"{'row':<10} {'attack':<70} {'answer':<86} answered so")
    for row in table:
        print(row.tell(results))
    wrong = [row.number for row in table if not row.is_held(results)]
    tries = sum(sum(found.values()) for found in results.values())
    print(
        f"\n{tries} tries in {len(names)} tests; "
        + (f"not as said: {', '.join(wrong)}" if wrong else "all as said")
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
