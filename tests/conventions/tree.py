"""Source files as parsed trees, the input of the rules."""

import ast
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Source:
    """One file: its path from the top of the repository, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        try:
            return ast.parse(self.text, filename=self.path)
        except SystemError:
            # "AST constructor recursion depth mismatch", once in many runs; seen on Python 3.11.7
            return ast.parse(self.text, filename=self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def imports(self) -> tuple[tuple[int, str, str], ...]:
        """Return (line, full name, bound name) of everything this file imports."""
        return tuple(_imported(self.nodes))

    def is_in(self, *places: str) -> bool:
        """Whether this file is one of the paths, or below one that ends with a slash."""
        return any(
            self.path == place or (place.endswith("/") and self.path.startswith(place)) for place in places
        )


@lru_cache(maxsize=1)
def read_names() -> tuple[str, ...]:
    """Return every file that is, or would be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=30,
    )
    names = sorted(name for name in listed.stdout.decode().split("\0") if name)
    return tuple(name for name in names if (ROOT / name).is_file())


@lru_cache(maxsize=1)
def read_python() -> tuple[Source, ...]:
    return tuple(Source(name, (ROOT / name).read_text()) for name in read_names() if name.endswith(".py"))


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for an attribute chain of names; "" for any other root."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def _imported(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str, str]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module or ''}.{alias.name}", alias.asname or alias.name
