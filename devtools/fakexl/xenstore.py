"""xenstore-read, -list, -ls and -watch of the stand-in: a tree made from the state of the domains.

It is read-only; changes are made by xl.
"""

import select
import sys
from collections.abc import Callable
from pathlib import Path

from devtools.fakexl import settings, state
from devtools.fakexl.faults import Faults
from devtools.fakexl.refusal import Refusal

#: how often watches check for events
LOOK_MILLISECONDS = 100


def run(directory: Path, program: str, arguments: list[str]) -> str:
    """Run one xenstore command. Returns its output. Raises Refusal."""
    faults = Faults(directory, program)
    faults.reach("start")
    if program == "xenstore-watch":
        return _watch(directory, arguments)
    paths = [word for word in arguments if not word.startswith("-")]
    if not paths and program != "xenstore-ls":
        raise Refusal(f"Usage: {program} path [...]\n")
    tree = _tree(directory)
    return "".join(READERS[program](tree, path) for path in paths or ["/"])


def _tree(directory: Path) -> dict[str, str]:
    """Every path with its value; "" for inner paths."""
    leaves = {"/local/domain/0/name": "Domain-0", "/local/domain/0/domid": "0"}
    host = settings.load(directory)
    with state.Store(directory, host.host).locked() as known:
        for domain in known.domains.values():
            leaves.update(_leaves(domain))
    tree: dict[str, str] = {"/": ""}
    for path, value in leaves.items():
        parts = path.split("/")
        for length in range(2, len(parts)):
            tree.setdefault("/".join(parts[:length]), "")
        tree[path] = value
    return tree


def _leaves(domain: state.Domain) -> dict[str, str]:
    home, vm = f"/local/domain/{domain.domid}", f"/vm/{domain.uuid}"
    return {
        f"{vm}/name": domain.name,
        f"{vm}/uuid": domain.uuid,
        f"{vm}/start_time": f"{domain.started_at:.2f}",
        f"{home}/vm": vm,
        f"{home}/name": domain.name,
        f"{home}/domid": str(domain.domid),
        f"{home}/memory/static-max": str(domain.maxmem_mib * 1024),
        f"{home}/memory/target": str(domain.memory_mib * 1024),
        f"{home}/control/shutdown": "",
        f"{home}/console/backend": f"/local/domain/0/backend/console/{domain.domid}/0",
        f"{home}/console/backend-id": "0",
        f"{home}/console/limit": "1048576",
        f"{home}/console/type": "xenconsoled",
        f"{home}/console/output": "pty",
        f"{home}/console/tty": domain.tty,
        f"{home}/console/port": "2",
        f"{home}/console/ring-ref": "364891",
        f"/libxl/{domain.domid}/type": domain.type,
    }


def _children(tree: dict[str, str], path: str) -> list[str]:
    start = path.rstrip("/") + "/"
    return [name[len(start) :] for name in tree if name.startswith(start) and "/" not in name[len(start) :]]


def _read(tree: dict[str, str], path: str) -> str:
    if path not in tree:
        raise Refusal(f"xenstore-read: couldn't read path {path}\n")
    return tree[path] + "\n"


def _list(tree: dict[str, str], path: str) -> str:
    if path not in tree:
        raise Refusal(f"xenstore-list: could not list path {path}\n")
    return "".join(f"{name}\n" for name in _children(tree, path) if name)


def _ls(tree: dict[str, str], path: str, depth: int = 0) -> str:
    if path not in tree:
        raise Refusal(f"xenstore-ls: xs_directory ({path}): No such file or directory\n")
    lines = ""
    for name in filter(None, _children(tree, path)):
        below = f"{path.rstrip('/')}/{name}"
        lines += f'{" " * depth}{name} = "{tree[below]}"\n' + _ls(tree, below, depth + 1)
    return lines


def _watch(directory: Path, arguments: list[str]) -> str:
    """Print each path once at the start, then at each change, until the reader has gone."""
    count = -1
    if arguments[:1] == ["-n"]:
        count, arguments = int(arguments[1]), arguments[2:]
    said, fired = 0, list(arguments)
    position = _size(directory)
    while True:
        for path in fired:
            print(path, flush=True)
            said += 1
            if said == count:
                return ""
        fired = []
        if _is_reader_gone():
            return ""
        if (size := _size(directory)) != position:
            with (directory / "events").open() as events:
                events.seek(position if size > position else 0)
                fired = [line for line in events.read().split() if line in arguments]
            position = size


def _size(directory: Path) -> int:
    events = directory / "events"
    return events.stat().st_size if events.exists() else 0


def _is_reader_gone() -> bool:
    """Wait a moment. Returns whether the reader of the output has closed it."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(LOOK_MILLISECONDS))


READERS: dict[str, Callable[[dict[str, str], str], str]] = {
    "xenstore-read": _read,
    "xenstore-list": _list,
    "xenstore-ls": _ls,
}
