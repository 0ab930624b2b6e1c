"""`python packaging/worker_requirements.py`: writes requirements-worker.txt beside this file, from uv.lock.

Lists what the extra `worker` names: what a dom0 needs, without the portal's packages. Each version has the
hashes of its files, so that pip installs exactly these. A test compares the file with the lock.
"""

import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: what builds the worker's own distribution
BUILD = "setuptools"
HEAD = """\
# Made by `make requirements` from uv.lock: do not edit.
#   pip install --require-hashes -r packaging/requirements-worker.txt
#   pip install --no-deps --no-build-isolation ./packaging/worker
"""


def requirements(lock: dict[str, Any]) -> str:
    """The file's text for the content of uv.lock."""
    packages = {package["name"]: package for package in lock["package"]}
    markers: dict[str, str] = {}
    waiting = [
        (one["name"], tuple(one.get("extra", ())), one.get("marker", ""))
        for one in [*packages["webxen"]["optional-dependencies"]["worker"], {"name": BUILD}]
    ]
    done = set()
    while waiting:
        name, extras, marker = waiting.pop(0)
        if (name, extras) in done:
            continue
        done.add((name, extras))
        # a package that another one needs without a condition is needed without one
        markers[name] = marker if markers.get(name, marker) else ""
        package = packages[name]
        wanted = [*package.get("dependencies", [])]
        for extra in extras:
            wanted += package["optional-dependencies"][extra]
        waiting += [(one["name"], tuple(one.get("extra", ())), one.get("marker", "")) for one in wanted]
    lines = [_line(packages[name], marker) for name, marker in markers.items()]
    return HEAD + "".join(sorted(lines))


def _line(package: dict[str, Any], marker: str) -> str:
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    name = f"{package['name']}=={package['version']}{f' ; {marker}' if marker else ''}"
    return _with_hashes(name, tuple(sorted({file["hash"] for file in files})))


def _with_hashes(name: str, hashes: tuple[str, ...]) -> str:
    return " \\\n    ".join([name, *(f"--hash={found}" for found in hashes)]) + "\n"


if __name__ == "__main__":
    lock = tomllib.loads((HERE.parent / "uv.lock").read_text())
    (HERE / "requirements-worker.txt").write_text(requirements(lock))
