"""Rules about texts: marks of unfinished work, paths of one machine, documents compared with code.

Pure functions over text, like rules.py; test_texts.py runs them.
"""

import ast
import re
from collections.abc import Iterable

from tests.conventions.tree import Source, dotted

#: split here, so that this file does not match itself
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX:", "HA" + "CK:"]) + r")\b")
#: folders of a developer's machine, and hosts that packages were installed from there
ELSEWHERE = re.compile(
    "|".join(
        [
            "/wo" + "rk/",
            r"\.\./sha" + "red",
            "/tmp/" + "team",
            "/tmp/" + "wxlab",
            r"(deb|snapshot|ftp[.\w]*)\.deb" + r"ian\.org",
            r"security\.deb" + r"ian\.org",
            r"\bpypi\." + "org",
            r"files\.python" + "hosted",
            r"registry\.npm" + "js",
            r"archive\.ubu" + "ntu",
        ]
    )
)
#: files written by tools, which contain the tools' own addresses
WRITTEN_BY_TOOLS = re.compile(r"(^|/)(uv\.lock|package-lock\.json)$|^webxen/static/webxen/")
TEXT = re.compile(
    r"\.(py|ts|js|mjs|css|html|md|toml|ya?ml|json|ini|cfg|sh|txt|po)$|(^|/)(Makefile|Dockerfile|run|install)$"
)


def find_lines(pattern: re.Pattern[str], text: str) -> list[int]:
    return [number for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]


SETTING = re.compile(r"\b(?:WEBXEN_[A-Z0-9_]+)\b")


def read_settings(sources: Iterable[Source]) -> set[str]:
    """Return every WEBXEN_… name in the product's code, except those composed at run time."""
    found: set[str] = set()
    for source in sources:
        for node in source.nodes:
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and SETTING.fullmatch(node.value)
            ):
                found.add(node.value)
    # env.secret reads X or X_FILE: one setting
    return {
        name
        for name in found
        if name.removesuffix("_FILE") == name or name.removesuffix("_FILE") not in found
    }


def documented_first_cells(markdown: str) -> set[str]:
    """Return the code spans in the first cells of a document's tables."""
    cells = (line.split("|")[1] for line in markdown.splitlines() if line.startswith("|"))
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def read_error_codes(sources: Iterable[Source]) -> set[str]:
    """Return every error code: `code = "X"` in the body of a class that is an error by its name or base."""
    found: set[str] = set()
    for source in sources:
        for node in source.nodes:
            if isinstance(node, ast.ClassDef):
                found |= set(_codes(node))
    return found


def _codes(node: ast.ClassDef) -> Iterable[str]:
    for line in node.body:
        if isinstance(line, ast.AnnAssign):
            target, value = line.target, line.value
        elif isinstance(line, ast.Assign):
            target, value = line.targets[0], line.value
        else:
            continue
        text = value.value if isinstance(value, ast.Constant) else None
        if dotted(target) == "code" and isinstance(text, str) and re.fullmatch(r"[A-Z][A-Z0-9_]+", text):
            yield text


def read_transitions(markdown: str, heading: str) -> set[tuple[str, str, str]]:
    """Return (from, event, to) of the rows `| FROM | EVENT | TO | …` under a heading of a document."""
    rows = set()
    section = markdown.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if (
            line.startswith("|")
            and len(cells) >= 3
            and all(re.fullmatch(r"[A-Z][A-Z_]+", c) for c in cells[:3])
        ):
            rows.add((cells[0], cells[1], cells[2]))
    return rows


def read_drawing(markdown: str, heading: str) -> set[str]:
    """Return the words in capitals in the drawing under a heading of a document."""
    section = markdown.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"[A-Z][A-Z_]+", section.partition("```\n")[2].partition("```")[0]))
