"""The commands of a stand-in guest's shell. Pure: words in, output out."""

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

ARITHMETIC = re.compile(r"\$\(\(\s*(\d{1,9})\s*([-+*])\s*(\d{1,9})\s*\)\)")


def words_of(command: str) -> list[str]:
    """Split a command as a shell does, or at spaces if that fails."""
    command = ARITHMETIC.sub(_calculated, command)
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def answer(
    words: list[str], hostname: str, facts: Mapping[str, Any], uptime_seconds: float
) -> bytes | Iterator[bytes]:
    """The output of a command; an iterator if the output is long or endless."""
    name, *arguments = words
    if name == "yes":
        return itertools.repeat((" ".join(arguments) or "y").encode() + b"\r\n")
    if name == "seq":
        return _sequence(arguments)
    if name == "cat":
        return b"".join(_file(path, hostname, facts, uptime_seconds) for path in arguments)
    texts = {
        "echo": " ".join(arguments),
        "hostname": hostname,
        "uname": _uname(arguments, hostname),
        "whoami": "root",
        "id": "uid=0(root) gid=0(root)",
        "tty": "/dev/hvc0",
        "nproc": str(facts["vcpus"]),
        "uptime": f" up {int(uptime_seconds)} s, load average: 0.00, 0.00, 0.00",
        "help": "echo cat hostname uname whoami id tty nproc uptime seq yes exit poweroff reboot",
    }
    if name in {"true", "sync", "clear", "stty"}:
        return b""
    return texts.get(name, f"-sh: {name}: not found").encode() + b"\r\n"


def _calculated(match: re.Match[str]) -> str:
    left, operator, right = int(match[1]), match[2], int(match[3])
    return str({"+": left + right, "-": left - right, "*": left * right}[operator])


def _sequence(arguments: list[str]) -> bytes | Iterator[bytes]:
    if not arguments or not all(re.fullmatch(r"\d{1,9}", word, re.ASCII) for word in arguments):
        return b"seq: invalid number\r\n"
    first, last = (1, int(arguments[0])) if len(arguments) == 1 else (int(arguments[0]), int(arguments[-1]))
    return (b"%d\r\n" % number for number in range(first, last + 1))


def _uname(arguments: list[str], hostname: str) -> str:
    release = "6.12.117+deb13-amd64"
    if arguments == ["-a"]:
        return f"Linux {hostname} {release} #1 SMP x86_64 GNU/Linux"
    return {"-r": release, "-n": hostname, "-m": "x86_64"}.get(arguments[0] if arguments else "", "Linux")


def _file(path: str, hostname: str, facts: Mapping[str, Any], uptime_seconds: float) -> bytes:
    texts = {
        "/sys/hypervisor/type": "xen",
        "/sys/hypervisor/uuid": facts["uuid"],
        "/etc/hostname": hostname,
        "/proc/cmdline": facts["cmdline"],
        "/proc/uptime": f"{uptime_seconds:.2f} {uptime_seconds:.2f}",
    }
    if path in texts:
        return str(texts[path]).encode() + b"\r\n"
    return f"cat: can't open '{path}': No such file or directory\r\n".encode()
