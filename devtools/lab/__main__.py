"""`python -m devtools.lab`: the command line of the lab."""

import argparse
import os
import select
import socket
import sys
import termios
import time
import tty
from collections.abc import Callable
from pathlib import Path

from devtools.lab import lab
from devtools.lab.host import LabHost
from devtools.lab.paths import LabError, lab_paths
from worker import shell

ESCAPE = b"\x1d"


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m devtools.lab",
        description="A real Xen with a Debian dom0, in QEMU on this machine.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in (
        ("up", "boot the lab, or go on where it was paused"),
        ("reset", "throw its machines away and start afresh"),
    ):
        made = verbs.add_parser(verb, help=text)
        made.add_argument("--hosts", type=int, default=int(os.environ.get("HOSTS", "1")), choices=(1, 2))
        made.add_argument("--install", action="store_true", help="install missing programs first (root)")
    verbs.add_parser("down", help="pause it, with its machines")
    verbs.add_parser("status", help="say what runs")
    for verb, text in (
        ("ssh", "a root shell in a dom0, or one command there"),
        ("logs", "what Xen, the dom0 and the worker printed"),
        ("console", "the dom0's own console; Ctrl-] leaves it"),
    ):
        made = verbs.add_parser(verb, help=text)
        made.add_argument("--host", default="xen1", metavar="NAME")
        if verb == "ssh":
            made.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(argv)


def _say(text: str) -> None:
    print(text, flush=True)


def _find_host(name: str) -> LabHost:
    for host in lab.hosts():
        if host.name == name:
            return host
    raise LabError(f"{name} does not run: start it with `python -m devtools.lab up`.")


def _up(args: argparse.Namespace) -> int:
    begun = time.monotonic()
    if args.install:
        for package in lab.install_missing():
            _say(f"  installed {package}")
    start = lab.reset if args.verb == "reset" else lab.up
    for host in start(args.hosts, _say):
        if host.push_worker():
            _say(f"  {host.name}: the working tree's worker is in it")
    _say(f"The lab is up after {time.monotonic() - begun:.1f} s.")
    return 0


def _down(_args: argparse.Namespace) -> int:
    lab.down(_say)
    return 0


def _status(_args: argparse.Namespace) -> int:
    found = lab.status()
    for host in found:
        state = "running" if host.is_running else "paused" if host.is_paused else "stopped"
        _say(f"{host.name} {state} ssh port {host.ssh_port}" + (f" pid {host.pid}" if host.pid else ""))
    if not found:
        _say("no lab here: start one with `python -m devtools.lab up`")
    for running in lab.hosts():
        for name, state in running.service_status().items():
            _say(f"  {running.name} {name}: {state}")
    return 0 if any(host.is_running for host in found) else 3


def _ssh(args: argparse.Namespace) -> int:
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    argv = _find_host(args.host).ssh_argv(batch=False)
    sys.stdout.flush()
    shell.become([*argv, *command])


def _logs(args: argparse.Namespace) -> int:
    folder = lab_paths().host(args.host)
    for name in ("qemu.log", "serial.log"):
        path = folder / name
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        _say(f"==> {path} <==")
        _say("\n".join(lines[-60:]))
    if any(host.name == args.host for host in lab.hosts()):
        _say("==> the worker's services <==")
        logs = "tail -n 60 /var/log/webxen/*.log 2>/dev/null || journalctl -n 200 --no-pager -u 'webxen-*'"
        _say(_find_host(args.host).run(logs).text)
    return 0


def _console(args: argparse.Namespace) -> int:
    """Connect this terminal to the dom0's serial line."""
    _find_host(args.host)
    path: Path = lab_paths().host(args.host) / "serial"
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        _say(f"Connected to {args.host}; Ctrl-] leaves.")
        try:
            tty.setraw(terminal)
            line.sendall(b"\r")
            _relay(terminal, line)
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    return 0


def _relay(terminal: int, line: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([terminal, line.fileno()], [], [])
        if line.fileno() in ready:
            data = line.recv(4096)
            if not data:
                return
            os.write(sys.stdout.fileno(), data)
        if terminal in ready:
            typed = os.read(terminal, 1024)
            if not typed or ESCAPE in typed:
                return
            line.sendall(typed)


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "up": _up,
    "reset": _up,
    "down": _down,
    "status": _status,
    "ssh": _ssh,
    "logs": _logs,
    "console": _console,
}


def main(argv: list[str] | None = None) -> int:
    args = _parse(argv)
    try:
        return _VERBS[args.verb](args)
    except (LabError, shell.CommandFailed, shell.CommandTimedOut) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
