"""What is handed to people: the compose file, the licence, the Makefile that lists itself, the package."""

import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conventions.tree import ROOT, read_names, read_python

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


class TestComposeFile:
    def test_has_the_seven_services(self) -> None:
        assert {"web", "reports", "clock", "beat", "worker", "postgres", "redis"} <= set(COMPOSE["services"])

    def test_waits_for_what_it_needs(self) -> None:
        for name in ("web", "reports", "clock", "beat"):
            waits = COMPOSE["services"][name]["depends_on"]
            assert waits["migrate"]["condition"] == "service_completed_successfully"
        assert COMPOSE["services"]["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"

    def test_publishes_nothing_beyond_this_machine(self) -> None:
        published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
        assert published
        assert all(str(port).startswith("127.0.0.1:") for port in published)

    def test_starts_modules_that_exist(self) -> None:
        commands = [" ".join(service.get("command", [])) for service in COMPOSE["services"].values()]
        script = re.sub(r"(?m)^#.*", "", (ROOT / "docker/worker.sh").read_text())
        named = set(
            re.findall(r"(?<![\w/.])(?:webxen|worker|docker)(?:\.\w+)+", " ".join([*commands, script]))
        )
        assert named
        for name in named:
            path = ROOT / name.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name

    def test_starts_the_services_a_real_dom0_has(self) -> None:
        from devtools.lab import services

        script = " ".join((ROOT / "docker/worker.sh").read_text().replace("\\\n", " ").split())
        for argv in services.service_lines("$WEBXEN_HOST").values():
            line = " ".join(["python", *argv[1:]])
            assert line in script.replace('"', ""), line

    def test_tells_the_worker_all_that_one_with_the_stand_in_is_told(self) -> None:
        told = set(re.findall(r'"(WEBXEN_\w+)":', (ROOT / "devtools/lab/hosts.py").read_text()))
        assert "WEBXEN_XL" in told
        known = set(COMPOSE["services"]["worker"]["environment"])
        # a secret may come as X or as X_FILE
        assert {name for name in told - known if name.removesuffix("_FILE") not in known} == set()

    def test_is_read_by_docker_itself(self) -> None:
        if (
            shutil.which("docker") is None
            or subprocess.run(
                ["docker", "compose", "version"], capture_output=True, timeout=30, check=False
            ).returncode
        ):
            pytest.skip("docker compose is not installed; the schema was still checked by make check")
        subprocess.run(["docker", "compose", "config", "--quiet"], cwd=ROOT, timeout=60, check=True)


class TestImage:
    DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()

    def test_does_not_run_as_root(self) -> None:
        assert self.DOCKERFILE.rstrip().splitlines()[-1] == "USER webxen"

    def test_is_built_with_one_version_of_uv(self) -> None:
        assert re.search(r"pip install --no-cache-dir uv==\d+\.\d+\.\d+ ", self.DOCKERFILE)

    def test_is_made_without_secrets_and_without_this_machines_files(self) -> None:
        left_out = set((ROOT / ".dockerignore").read_text().splitlines())
        assert left_out >= {".env*", ".git", ".webxen", ".venv", "**/node_modules"}
        copied = re.findall(r"^COPY (.+) \S+$", self.DOCKERFILE, re.MULTILINE)
        names = {name for words in copied for name in words.split()}
        assert names.isdisjoint(left_out)
        assert "." not in names

    def test_leaves_no_core_dump(self) -> None:
        ours = [service for service in COMPOSE["services"].values() if service["image"] == "webxen"]
        asked_once = ("ground", "migrate")
        for name, service in COMPOSE["services"].items():
            if service in ours and name not in asked_once:
                assert service["ulimits"] == {"core": 0}, name


class TestWorkersRequirements:
    def test_are_those_of_the_lock(self) -> None:
        made = runpy.run_path(str(ROOT / "packaging/worker_requirements.py"))
        lock = tomllib.loads((ROOT / "uv.lock").read_text())
        written = (ROOT / "packaging/requirements-worker.txt").read_text()
        assert made["requirements"](lock) == written, "say `make requirements`"

    def test_hold_what_the_worker_imports_and_nothing_of_the_portals(self) -> None:
        written = (ROOT / "packaging/requirements-worker.txt").read_text()
        names = set(re.findall(r"^([a-z0-9-]+)==", written, re.MULTILINE))
        assert names >= {"celery", "kombu", "redis", "cryptography", "pycdlib"}
        assert names.isdisjoint({"django", "djangorestframework", "channels", "psycopg", "uvicorn"})

    def test_name_the_hash_of_every_file(self) -> None:
        written = (ROOT / "packaging/requirements-worker.txt").read_text()
        for block in re.split(r"(?m)^(?=[a-z])", written)[1:]:
            assert "--hash=sha256:" in block, block


EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


def built(tmp_path: Path, source: Path, kind: str) -> set[str]:
    """Names of the files in the wheel or sdist of a folder, without the metadata."""
    folder = tmp_path / "source"
    shutil.copytree(
        source,
        folder,
        ignore=shutil.ignore_patterns("__pycache__", ".*", "node_modules", "build", "*.egg-info"),
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import setuptools.build_meta as b; print(b.build_{kind}('out'))"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    made = folder / "out" / done.stdout.splitlines()[-1]
    if kind == "wheel":
        with zipfile.ZipFile(made) as archive:
            names = archive.namelist()
    else:
        with tarfile.open(made) as archive:
            names = [name.partition("/")[2] for name in archive.getnames()]
    return {name for name in names if "-info" not in name and name.endswith(".py")}


class TestDistributions:
    @pytest.mark.parametrize("kind", ["wheel", "sdist"])
    def test_of_the_worker_holds_the_worker_and_nothing_else(self, tmp_path: Path, kind: str) -> None:
        sources = {path for path in read_names() if path.startswith("worker/") and path.endswith(".py")}
        assert built(tmp_path, ROOT / "packaging/worker", kind) == sources

    def test_of_the_portal_holds_of_the_worker_what_both_import(self, tmp_path: Path) -> None:
        checkout = tmp_path / "checkout"
        for name in read_names():
            if name.endswith((".py", ".toml", "LICENSE", "README.md")) and not name.startswith("tests/"):
                (checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, checkout / name)
        files = built(tmp_path, checkout, "wheel")
        rooms = {tuple(name.split("/")[:2]) for name in files if not name.startswith("webxen/")}
        assert rooms == {("worker", "contract"), ("worker", "queue_transport")}
        assert "webxen/migration/operations.py" in files

    def test_of_the_worker_needs_what_the_extra_of_the_checkout_names(self) -> None:
        project = tomllib.loads((ROOT / "packaging/worker/pyproject.toml").read_text())["project"]
        assert project["dependencies"] == EXTRAS["worker"]


class TestExtras:
    @pytest.mark.parametrize(("extra", "folder"), [("portal", "webxen/"), ("worker", "worker/")])
    def test_name_what_their_side_imports(self, extra: str, folder: str) -> None:
        """deptry sees that nothing is missing in all; this is about which side has it."""
        named = {module_of(wish) for wish in EXTRAS[extra]}
        sources = [source for source in read_python() if source.is_in(folder)]
        found = {name.partition(".")[0] for source in sources for _, name, _ in source.imports}
        outside = found - sys.stdlib_module_names - {"webxen", "worker", "devtools", "asgiref"}
        assert outside <= named, sorted(outside - named)

    def test_of_the_worker_names_nothing_that_it_does_not_import(self) -> None:
        sources = [source for source in read_python() if source.is_in("worker/")]
        found = {name.partition(".")[0] for source in sources for _, name, _ in source.imports}
        assert {module_of(wish) for wish in EXTRAS["worker"]} <= found

    def test_are_all_installed_for_make_up(self) -> None:
        script = (ROOT / ".ci/install").read_text()
        assert {f"--extra {name}" in script for name in EXTRAS} == {True}


#: names of distributions that are not the names of their modules
MODULES = {
    "djangorestframework": "rest_framework",
    "django-allauth": "allauth",
    "django-csp": "csp",
    "libpass": "passlib",
}


def module_of(wish: str) -> str:
    name = re.split(r"[\[=]", wish)[0]
    return MODULES.get(name, name.lower().replace("-", "_"))


class TestMakefile:
    def test_lists_every_target_people_are_told_of(self) -> None:
        listed = subprocess.run(
            ["make", "-s"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
        )
        for target in ("install", "up", "down", "test", "lab-test", "check", "bench", "format", "clean"):
            assert re.search(rf"^  make {target}\s+\S", listed.stdout, re.MULTILINE)


class TestLicence:
    def test_is_the_whole_apache_text(self) -> None:
        text = (ROOT / "LICENSE").read_text()
        assert "Apache License" in text
        assert "END OF TERMS AND CONDITIONS" in text
        assert len(text) > 10_000
