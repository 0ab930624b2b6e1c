"""Which release of WebXen this is."""

import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]


@cache
def portal_version() -> str:
    """The release, such as 0.1.0; empty where neither an installed package nor a working tree says it."""
    try:
        return metadata.version("webxen")
    except metadata.PackageNotFoundError:
        pass
    try:
        text = (TREE / "pyproject.toml").read_text()
        return str(tomllib.loads(text)["project"]["version"])
    except (OSError, ValueError, KeyError):
        return ""
