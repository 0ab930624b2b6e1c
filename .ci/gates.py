"""The gates of `make check`: what each runs, and the loop that runs them two at a time.

No rule lives here: rules are in pyproject.toml, in frontend/ and in tests/house.
"""

import filecmp
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
FRONTEND = ROOT / "frontend"
BUILT = ROOT / "webxen" / "static" / "webxen"
TIMEOUT_SECONDS = 600
SOURCES = ["webxen", "worker", "tests", "docker", ".ci", "manage.py"]

#: Rooms whose truth is in the database: their tests run once more over PostgreSQL.
DATABASE_ROOMS = ["accounts", "inventory", "quotas", "machines", "jobs", "approvals"]


@dataclass(frozen=True)
class Outcome:
    name: str
    is_good: bool
    seconds: float
    output: str


def environment() -> dict[str, str]:
    wheel_node = ROOT / ".webxen" / "node" / "bin"
    path = [str(BIN), *([str(wheel_node)] if wheel_node.exists() else []), os.environ.get("PATH", "")]
    return {**os.environ, "PATH": os.pathsep.join(path), "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def run(*argv: str, cwd: Path = ROOT) -> tuple[bool, str]:
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return done.returncode == 0, done.stdout


def existing(paths: list[str]) -> list[str]:
    return [path for path in paths if (ROOT / path).exists()]


def templates() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("webxen/**/templates/**/*.html"))


def build_compared() -> tuple[bool, str]:
    """Build the front end beside the committed files and compare byte for byte."""
    with tempfile.TemporaryDirectory(prefix="webxen-front-") as folder:
        good, output = run("npx", "vite", "build", "--outDir", folder, "--emptyOutDir", cwd=FRONTEND)
        if not good:
            return False, output
        fresh, kept = Path(folder), BUILT
        names = {str(p.relative_to(d)) for d in (fresh, kept) for p in d.rglob("*") if p.is_file()}
        differing = [
            name
            for name in sorted(names)
            if not (fresh / name).is_file()
            or not (kept / name).is_file()
            or not filecmp.cmp(fresh / name, kept / name, shallow=False)
        ]
    if not names:
        return False, "the build made no file"
    hint = "run `npm run build` in frontend/ and commit what changed in webxen/static/webxen"
    return not differing, "".join(f"differs: {name}\n" for name in differing) + hint


def djade() -> tuple[bool, str]:
    return run("djade", "--check", "--target-version", "5.2", *templates())


def djlint() -> tuple[bool, str]:
    return run("djlint", "--lint", "--quiet", "webxen")


def lint() -> tuple[bool, str]:
    return run("ruff", "check", *existing(SOURCES))


def compose() -> tuple[bool, str]:
    return run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def oxlint() -> tuple[bool, str]:
    return run("oxlint", "--deny-warnings", "frontend/src")


# Long ones first: two run at a time.
GATES: dict[str, Callable[[], tuple[bool, str]]] = {
    "types: mypy": lambda: run("mypy"),
    "front end: build compared": build_compared,
    "front end: vitest": lambda: run("npx", "vitest", "run", cwd=FRONTEND),
    "import walls": lambda: run("lint-imports"),
    "dependencies: deptry": lambda: run("deptry", "."),
    "migrations": lambda: run(
        "python", "manage.py", "makemigrations", "--settings=tests.settings", "--check", "--dry-run"
    ),
    "django's own checks": lambda: run(
        "python", "manage.py", "check", "--settings=tests.settings", "--fail-level", "WARNING"
    ),
    "front end: tsc": lambda: run("npx", "tsc", "--noEmit", cwd=FRONTEND),
    "front end: prettier": lambda: run("npx", "prettier", "--check", ".", cwd=FRONTEND),
    "front end: oxlint": oxlint,
    "templates: djlint": djlint,
    "templates: djade": djade,
    "compose file": compose,
    "format: ruff": lambda: run("ruff", "format", "--check", *existing(SOURCES)),
    "lint: ruff": lint,
}

# The worker's tests run where `import django` fails; the others must not start a lab.
TESTS: dict[str, list[str]] = {
    "tests": ["-n", "2", "--ignore=tests/worker", "--ignore=tests/bench", "tests"],
    "tests of the worker, without Django": [
        *("-c", "tests/worker/pytest.ini", "-p", "tests.without_django", "-p", "no:django", "-n", "3"),
        "tests/worker",
    ],
    # whole processes were tried over SQLite just now: here it is about what the database itself refuses
    "tests over PostgreSQL": ["-n", "2", "-m", "not slow"],
}


def open_gate(name: str) -> Outcome:
    started = time.monotonic()
    try:
        good, output = GATES[name]()
    except (OSError, subprocess.TimeoutExpired) as error:
        good, output = False, str(error)
    outcome = Outcome(name, good, time.monotonic() - started, output)
    verdict = "ok    " if good else "FAILED"
    print(f"{verdict} {outcome.seconds:6.1f} s  {name}", flush=True)
    return outcome


def check() -> int:
    with ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = list(pool.map(open_gate, GATES))
    failed = [outcome for outcome in outcomes if not outcome.is_good]
    for outcome in failed:
        print(f"\n----- {outcome.name} -----\n{outcome.output.strip()}")
    print(f"\n{len(outcomes) - len(failed)} gates good, {len(failed)} failed", flush=True)
    return 1 if failed else 0


def stream(name: str, argv: list[str]) -> Outcome:
    """Run tests with their output on the screen."""
    print(f"\n===== {name} =====", flush=True)
    started = time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, check=False)
    return Outcome(name, done.returncode == 0, time.monotonic() - started, "")


def test() -> int:
    rooms = existing([f"tests/{room}" for room in DATABASE_ROOMS])
    outcomes = []
    for name, arguments in TESTS.items():
        argv = [str(BIN / "python"), "-m", "pytest", "-q", *arguments]
        if name == "tests over PostgreSQL":
            argv = [str(BIN / "python"), "-m", "tests.over_postgres", *argv, *rooms]
        outcomes.append(stream(name, argv))
    print()
    for outcome in outcomes:
        print(f"{'ok    ' if outcome.is_good else 'FAILED'} {outcome.seconds:6.1f} s  {outcome.name}")
    return 0 if all(outcome.is_good for outcome in outcomes) else 1


def put_into_format() -> int:
    steps = [
        run("ruff", "check", "--fix", "--fix-only", "--quiet", *existing(SOURCES)),
        run("ruff", "format", *existing(SOURCES)),
        run("djade", "--target-version", "5.2", *templates()),
        run("npx", "prettier", "--write", "--log-level", "warn", ".", cwd=FRONTEND),
    ]
    print("".join(output for _, output in steps))
    return 0


def main() -> int:
    started = time.monotonic()
    asked = sys.argv[1] if len(sys.argv) > 1 else "check"
    if asked == "format":
        return put_into_format()
    verdicts = [test()] if asked == "test" else [check(), test()]
    print(f"\nmake {asked}: {'FAILED' if any(verdicts) else 'passed'} in {time.monotonic() - started:.0f} s")
    return 1 if any(verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
