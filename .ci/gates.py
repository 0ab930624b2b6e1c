"""The gates of `make check`: what each runs, and the three lanes in which they run beside each other.

No rule lives here: rules are in pyproject.toml, in frontend/ and in tests/conventions.
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
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
FRONTEND = ROOT / "frontend"
BUILT = ROOT / "webxen" / "static" / "webxen"
TIMEOUT_SECONDS = 1800
SOURCES = ["webxen", "worker", "devtools", "tests", "docker", ".ci", "manage.py"]

#: Rooms whose truth is in the database: their tests run once more over PostgreSQL.
DATABASE_ROOMS = ["accounts", "inventory", "quotas", "machines", "jobs", "approvals"]
#: Tests there that are about a host, the broker, arithmetic or a parser, whatever the database; a restore
#: over PostgreSQL is tried by tests.chaos.restore.
ANY_DATABASE = [
    *(f"jobs/test_{name}.py" for name in ("burnin", "reading", "restore", "stolen_credentials")),
    "quotas/test_arithmetic.py",
    "approvals/test_fuzz_credentials.py",
]


@dataclass(frozen=True)
class Outcome:
    name: str
    is_good: bool
    seconds: float
    output: str


def environment() -> dict[str, str]:
    wheel_node = ROOT / ".webxen" / "node" / "bin"
    path = [str(BIN), *([str(wheel_node)] if wheel_node.exists() else []), os.environ.get("PATH", "")]
    # byte code is kept: a run starts some hundred processes, and pytest rewrites each test file's asserts
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PATH": os.pathsep.join(path), "NO_COLOR": "1"}


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
    # it reads and compiles its rules again for each template: kept, that costs a fifth of the time
    quick = (
        "import functools, regex, yaml;"
        "yaml.SafeLoader = yaml.CSafeLoader; regex.compile = functools.cache(regex.compile);"
        "from djlint import main; main()"
    )
    return run("python", "-c", quick, "--lint", "--quiet", "webxen")


def lint() -> tuple[bool, str]:
    return run("ruff", "check", *existing(SOURCES))


def compose() -> tuple[bool, str]:
    return run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def oxlint() -> tuple[bool, str]:
    return run("oxlint", "--deny-warnings", "frontend/src")


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

#: plugins that no test here asks for, and that take seconds to import
LEAN = ("-p", "no:schemathesis", "-p", "no:anyio", "-p", "no:valkey")
# The worker's tests run where `import django` fails; the others must not start a lab.
TESTS: dict[str, list[str]] = {
    "tests": [
        *(*LEAN, "-n", "2", "--dist", "worksteal"),
        *("--ignore=tests/worker", "--ignore=tests/bench", "tests"),
    ],
    # much of a worker's time is waiting for a guest: more of them than processors
    "tests of the worker, without Django": [
        *("-c", "tests/worker/pytest.ini", "-p", "tests.without_django", "-p", "no:django", *LEAN),
        *("-n", "4", "--dist", "worksteal", "tests/worker"),
    ],
    # whole processes were tried over SQLite: here it is about what the database itself refuses
    "tests over PostgreSQL": [
        *(*LEAN, "-n", "2", "--dist", "worksteal", "-m", "not slow", "--database"),
        *(f"--ignore=tests/{name}" for name in ANY_DATABASE),
    ],
}
#: on the screen as it goes; the other tests run beside it and are shown at their end
ALOUD = "tests"
#: wait for most of their time: a lane of their own. What is left follows the gates, one after the other
WAITING = "tests of the worker, without Django"


def tests(name: str) -> list[str]:
    """The command line of one of the TESTS."""
    argv = [str(BIN / "python"), "-m", "pytest", "-q", *TESTS[name]]
    if name == "tests over PostgreSQL":
        rooms = existing([f"tests/{room}" for room in DATABASE_ROOMS])
        return [str(BIN / "python"), "-m", "tests.over_postgres", *argv, *rooms]
    return argv


def open_gate(name: str, gate: Callable[[], tuple[bool, str]]) -> Outcome:
    started = time.monotonic()
    try:
        good, output = gate()
    except (OSError, subprocess.TimeoutExpired) as error:
        good, output = False, str(error)
    outcome = Outcome(name, good, time.monotonic() - started, output)
    print(f"\n{line_of(outcome)}", end="", flush=True)
    return outcome


def line_of(outcome: Outcome) -> str:
    return f"{'ok    ' if outcome.is_good else 'FAILED'} {outcome.seconds:6.1f} s  {outcome.name}"


def stream(name: str) -> Outcome:
    """Run tests with their output on the screen."""
    print(f"\n===== {name} =====", flush=True)
    started = time.monotonic()
    done = subprocess.run(tests(name), cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, check=False)
    return Outcome(name, done.returncode == 0, time.monotonic() - started, "")


def run_beside(gates: dict[str, Callable[[], tuple[bool, str]]]) -> list[Outcome]:
    return [open_gate(name, gate) for name, gate in gates.items()]


def run_all(gates: dict[str, Callable[[], tuple[bool, str]]]) -> int:
    """All tests and these gates: tests wait a good deal, and what runs beside them fills the gaps."""
    quiet = {name: partial(run, *tests(name)) for name in TESTS if name != ALOUD}
    waiting = {WAITING: quiet.pop(WAITING)}
    with ThreadPoolExecutor(max_workers=2) as pool:
        beside = [pool.submit(run_beside, lane) for lane in (waiting, {**gates, **quiet})]
        aloud = stream(ALOUD)
        outcomes = [outcome for lane in beside for outcome in lane.result()] + [aloud]
    failed = [outcome for outcome in outcomes if not outcome.is_good]
    for outcome in failed:
        if outcome.output:
            print(f"\n\n----- {outcome.name} -----\n{outcome.output.strip()}")
    print("\n")
    for outcome in outcomes:
        print(line_of(outcome))
    print(f"\n{len(outcomes) - len(failed)} gates good, {len(failed)} failed", flush=True)
    return 1 if failed else 0


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
    verdict = run_all({} if asked == "test" else GATES)
    print(f"\nmake {asked}: {'FAILED' if verdict else 'passed'} in {time.monotonic() - started:.0f} s")
    return verdict


if __name__ == "__main__":
    sys.exit(main())
