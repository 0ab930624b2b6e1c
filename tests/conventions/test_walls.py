"""The walls between rooms: the lists of import-linter are whole, and the walls stand where they should.

import-linter itself runs in `make check`; here is what it cannot know, and proof that it bites.
"""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conventions.tree import ROOT, read_python

CONFIGURATION: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["id"]: contract for contract in CONFIGURATION["tool"]["importlinter"]["contracts"]
}


#: what both sides import, of the standard library alone
SHARED = {"contract"}
#: and of Celery's library alone: how messages lie in the broker
TRANSPORT = {"queue_transport"}
#: modules of the contract that hold no message: imported by their own name
NO_MESSAGES = {"broker_policy", "membership", "wording"}


def worker_modules() -> set[str]:
    """Every module or package right below worker/, but the shared ones."""
    return {
        f"worker.{path.stem}"
        for path in (ROOT / "worker").iterdir()
        if (path.suffix == ".py" and path.stem not in {"__init__", *SHARED})
        or (path.is_dir() and path.name not in SHARED | TRANSPORT and any(path.glob("*.py")))
    }


class TestImportWalls:
    def test_list_everything_of_the_worker_that_the_portal_may_not_import(self) -> None:
        assert set(CONTRACTS["one-contract"]["forbidden_modules"]) == worker_modules()

    def test_have_no_hole(self) -> None:
        assert not [name for name, contract in CONTRACTS.items() if "ignore_imports" in contract]

    def test_place_every_room(self) -> None:
        assert CONTRACTS["rooms"]["exhaustive"] is True
        assert "exhaustive_ignores" not in CONTRACTS["rooms"]

    @pytest.mark.parametrize("name", sorted(SHARED))
    def test_what_is_shared_stands_on_the_standard_library(self, name: str) -> None:
        places = (f"worker/{name}.py", f"worker/{name}/")
        shared = [source for source in read_python() if source.is_in(*places)]
        names = {name for source in shared for _, name, _ in source.imports}
        inside = {inner for inner in names if inner.startswith(f"worker.{name}.")}
        assert shared
        assert not {outer.partition(".")[0] for outer in names - inside} - sys.stdlib_module_names

    def test_what_is_shared_is_imported_where_nothing_is_installed(self) -> None:
        """In a Python without site-packages: every module of the contract, and what came with it."""
        program = (
            "import importlib, pkgutil, sys\n"
            f"sys.path.insert(0, {str(ROOT)!r})\n"
            "import worker.contract as contract\n"
            "for found in pkgutil.iter_modules(contract.__path__, 'worker.contract.'):\n"
            "    importlib.import_module(found.name)\n"
            "tops = {name.partition('.')[0] for name in sys.modules}\n"
            "print(*sorted(tops - sys.stdlib_module_names - {'__main__'}))\n"
            "print(*sorted(name for name in sys.modules if name.startswith('worker.')))\n"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        tops, ours = done.stdout.splitlines()
        assert tops == "worker"
        assert all(name.startswith("worker.contract") for name in ours.split())

    def test_the_contract_has_one_door(self) -> None:
        outside = [
            source
            for source in read_python()
            if source.is_in("webxen/", "worker/") and not source.is_in("worker/contract/")
        ]
        rooms = {path.stem for path in (ROOT / "worker/contract").glob("*.py")} - {"__init__", *NO_MESSAGES}
        assert not [
            (source.path, line)
            for source in outside
            for line, name, _ in source.imports
            if name.startswith(tuple(f"worker.contract.{room}" for room in rooms))
        ]

    @pytest.mark.parametrize(
        ("room", "line"),
        [
            ("quotas", "import webxen.jobs"),
            ("api", "import webxen.web"),
            ("jobs", "import worker.xen.xl"),
            ("jobs", "import webxen.migration"),
            ("migration", "import webxen.fleet"),
            ("enrolment", "import devtools.lab"),
        ],
    )
    def test_bite(self, tmp_path: Path, room: str, line: str) -> None:
        """The contracts of this repository, over a tree of empty rooms with one wrong import in it."""
        rooms = {source.path for source in read_python() if source.is_in("webxen/", "worker/", "devtools/")}
        for name in sorted(rooms):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        (tmp_path / "webxen" / room / "wrong.py").write_text(f"{line}\n")
        (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
        done = subprocess.run(
            [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert f"webxen.{room}.wrong" in done.stdout


class TestRuffOptOuts:
    def test_each_has_its_reason(self) -> None:
        lines = (ROOT / "pyproject.toml").read_text().splitlines()
        start = lines.index("ignore = [")
        body = lines[start + 1 : lines.index("]", start)]
        assert body
        assert all("  # " in line and len(line.partition("#")[2]) > 5 for line in body)
