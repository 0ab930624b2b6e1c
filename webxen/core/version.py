"""The release of WebXen that is running."""

import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]


@cache
def portal_version() -> str:
    """Return the release, such as 0.1.0; empty if neither package metadata nor pyproject.toml has it."""
    try:
        return metadata.version("webxen")
    except metadata.PackageNotFoundError:
        pass
    try:
        text = (TREE / "pyproject.toml").read_text()
        return str(tomllib.loads(text)["project"]["version"])
    except (OSError, ValueError, KeyError):
        return ""
