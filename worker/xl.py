"""The `xl` program and the xenstore tools: one method a verb, and parsers of what they print.

Lives here: the calls, their time-outs, and what their output and exit codes mean. What to do about
it belongs to the verbs. Output that cannot be understood is `Unreadable`, never "no domains".
Domains are named by domid, because xl takes a name made of digits for a domid.
"""

import contextlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker import shell
from worker.contract import Power

#: how long a verb may take before it counts as stuck; a software-emulated dom0 is slow
LOOK_SECONDS = 15.0
#: how often a list that cannot be read is asked for, and how long it is left alone in between
LOOKS, LOOK_AGAIN_SECONDS = 3, 0.3
ACT_SECONDS = 60.0
CREATE_SECONDS = 300.0


class XlError(Exception):
    """xl or a xenstore tool did not do what was asked; `lines` are its last words."""

    def __init__(self, sentence: str, lines: tuple[str, ...] = ()) -> None:
        self.lines = lines
        super().__init__("\n".join((sentence, *lines)))


class XlFailed(XlError):
    """xl ended with an error that has no name of its own. Look before believing it: exit codes are hints."""


class XlTimedOut(XlError):
    """xl was still running at the deadline. What it did is unknown until somebody looks."""


class Unreadable(XlError):
    """What was printed cannot be understood, so nothing is known."""


class DomainExists(XlError):
    """A domain of this name or uuid is already there."""


class NoSuchDomain(XlError):
    """There is no such domain."""


class NoMemory(XlError):
    """The host has too little free memory for the domain."""


class DiskMissing(XlError):
    """A disk of the domain cannot be found, or is in use."""


class KernelMissing(XlError):
    """The kernel or ramdisk cannot be found."""


class TooSmall(XlError):
    """The domain has too little memory for its kernel."""


class BridgeMissing(XlError):
    """The bridge of a network card is not there."""


class BadDomainConfig(XlError):
    """xl cannot read the configuration, or it makes no sense."""


#: what libxl says when a create fails and what it means; the first that matches names the error.
#: tests/worker/captured/xl-cases-4.20.json is where the words come from.
CREATE_FAILURES: tuple[tuple[re.Pattern[str], type[XlError]], ...] = (
    (re.compile(r'Domain with name ".*" already exists'), DomainExists),
    (re.compile(r"segment \S+ too large"), TooSmall),
    (
        re.compile(
            r"failed to free memory|can't allocate|Out of memory|Cannot allocate memory|claim_memory"
            r"|insufficient memory",
            re.IGNORECASE,
        ),
        NoMemory,
    ),
    (re.compile(r"Disk vdev=\S+ (failed to stat|is neither)|unable to add disk devices"), DiskMissing),
    (re.compile(r"failed to open file"), KernelMissing),
    (re.compile(r"Could not find bridge|unable to add vif devices"), BridgeMissing),
    (
        re.compile(
            r"config parsing error|Failed to (parse config|read config file)|must be specified"
            r"|Invalid domain type|Neither kernel nor bootloader"
        ),
        BadDomainConfig,
    ),
)
ABSENT = re.compile(
    r"invalid domain identifier|Can't get domid|does not exist|Non-existant domain|No such process"
)
#: how a failed create ends: lines about the domain it takes back, which say nothing of the cause
TAKING_BACK = re.compile(
    r"libxl_domain_info:|libxl__destroy_domid:|domain_destroy_callback:|domain_destroy_cb:"
    r"|libxl__xs_read_mandatory:|libxl__domain_type:|libxl__userdata_path:|Parsing config from"
)

ROW = re.compile(
    # two lines run together would make one domain with a long name: no name has another line's UUID in it
    r"(?P<name>(?:(?![0-9a-f]{8}(?:-[0-9a-f]{4}){3}-).)+?) +(?P<domid>\d+) +(?P<memory>\d+) +(?P<vcpus>\d+) +"
    r"(?P<flags>[r-][b-][p-][s-][-rscwS?][d-]) +(?P<cpu>\d+\.\d) "
    r"(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) +(?P<reason>-|[0-9a-f]+) +(?P<label>\S+)"
)
HEADING = re.compile(r"Name +ID +Mem +VCPUs\s+State\s+Time\(s\) +UUID +Reason-Code\s+Security Label")
DOMAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,120}")
#: nothing in it means anything to a shell
SAFE_WORD = re.compile(r"[A-Za-z0-9/._+-]+", re.ASCII)
TTY = re.compile(r"/dev/pts/\d+")


@dataclass(frozen=True)
class Domain:
    """One line of `xl list -v`."""

    domid: int
    name: str
    uuid: str
    memory_mib: int
    vcpus: int
    #: running, blocked, paused, shut down, why, dying: "-b----"
    flags: str
    cpu_seconds: float

    @property
    def is_dying(self) -> bool:
        return self.flags[5] == "d"

    @property
    def is_shut_down(self) -> bool:
        """Whether the guest has ended while its domain (and its name) is still there."""
        return self.flags[3] == "s"

    @property
    def is_rebooting(self) -> bool:
        """Whether the guest has ended to begin anew: xl is about to make its next domain."""
        return self.is_shut_down and self.flags[4] == "r"

    @property
    def power(self) -> Power:
        if self.is_dying:
            return "UNKNOWN"
        if self.is_shut_down:
            powers: dict[str, Power] = {"-": "OFF", "s": "SUSPENDED", "c": "CRASHED"}
            return powers.get(self.flags[4], "UNKNOWN")
        return "PAUSED" if self.flags[2] == "p" else "RUNNING"


class Xl:
    """The xl of this host. `xenstore_dir` holds xenstore-read and its kin."""

    def __init__(self, program: str = "/usr/sbin/xl", xenstore_dir: str = "/usr/bin") -> None:
        self.program = program
        self.xenstore_dir = xenstore_dir

    # looking

    def info(self) -> dict[str, str]:
        """Read `xl info`, key by key, in its order."""
        return parse_info(self._run("info", timeout_seconds=LOOK_SECONDS))

    def domains(self) -> tuple[Domain, ...]:
        """List every domain but Domain-0. Raises Unreadable rather than leave one out.

        A domain that is just being made, another machine's perhaps, is listed as "(null)" for a moment
        (seen on Xen 4.20, in a reboot): xl is asked again before the list counts as unreadable.
        """
        for _ in range(LOOKS - 1):
            with contextlib.suppress(Unreadable):
                return parse_list(self._run("list", "-v", timeout_seconds=LOOK_SECONDS))
            time.sleep(LOOK_AGAIN_SECONDS)
        return parse_list(self._run("list", "-v", timeout_seconds=LOOK_SECONDS))

    def domain(self, uuid: str) -> Domain | None:
        """Find the domain with this uuid; None when the list was read and it is not on it."""
        return next((domain for domain in self.domains() if domain.uuid == uuid), None)

    def configs(self) -> dict[int, dict[str, Any]]:
        """Read what `xl list -l` knows of each domain, by domid; without Domain-0."""
        return parse_configs(self._run("list", "-l", timeout_seconds=LOOK_SECONDS))

    def domid(self, name: str) -> int:
        """Ask for the domid of a name. Raises NoSuchDomain."""
        if not DOMAIN_NAME.fullmatch(name):
            raise NoSuchDomain(f"{name!r} cannot be the name of a domain")
        printed = self._run("domid", name, timeout_seconds=LOOK_SECONDS).strip()
        if not re.fullmatch(r"\d+", printed, re.ASCII):
            raise Unreadable("xl domid printed no number", (printed[:200],))
        return int(printed)

    # acting

    def create(self, cfg_path: Path, *, timeout_seconds: float = CREATE_SECONDS) -> None:
        self._run("create", "-q", str(_absolute(cfg_path)), timeout_seconds=timeout_seconds)

    def destroy(self, domid: int) -> None:
        self._act("destroy", domid)

    def shutdown(self, domid: int) -> None:
        """Ask the guest to power off; the domain and its name go some time later."""
        self._act("shutdown", domid)

    def reboot(self, domid: int) -> None:
        """Ask the guest to restart; the domain comes back with another domid."""
        self._act("reboot", domid)

    def pause(self, domid: int) -> None:
        self._act("pause", domid)

    def unpause(self, domid: int) -> None:
        self._act("unpause", domid)

    def rename(self, domid: int, name: str) -> None:
        if not DOMAIN_NAME.fullmatch(name):
            raise XlFailed(f"{name!r} cannot be the name of a domain")
        self._run("rename", str(_domid(domid)), name, timeout_seconds=ACT_SECONDS)

    def resume(self, domid: int) -> None:
        """Let a suspended guest go on. Xen's own tools have it from 4.20 on."""
        self._act("resume", domid)

    # moving: these are started, and end when the move does

    def migrate(self, domid: int, command: str) -> list[str]:
        """The command line that sends a domain through what a shell makes of `command`."""
        words = command.split(" ")
        if not all(SAFE_WORD.fullmatch(word) for word in words):
            raise XlFailed("a transport with such a name is not given to a shell")
        return [self.program, "migrate", "-s", "", str(_domid(domid)), command]

    def migrate_receive(self) -> list[str]:
        return [self.program, "migrate-receive"]

    def save(self, domid: int, path: Path) -> list[str]:
        """Save into a file or a pipe; the domain then stands still here until it is unpaused."""
        return [self.program, "save", "-p", str(_domid(domid)), str(_absolute(path))]

    def restore(self, path: Path) -> list[str]:
        """Make a domain of a file or a pipe; it stands still until it is unpaused."""
        return [self.program, "restore", "-p", str(_absolute(path))]

    # xenstore

    def console_tty(self, domid: int) -> str:
        """Path of the pty that carries the domain's console. Raises NoSuchDomain, Unreadable."""
        path = self.xenstore_read(f"/local/domain/{_domid(domid)}/console/tty")
        if not TTY.fullmatch(path):
            raise Unreadable("the console of the domain is no pty", (path[:200],))
        return path

    def vm_uuid(self, domid: int) -> str:
        """Uuid of a running domain, from its /vm path. Raises NoSuchDomain, Unreadable."""
        path = self.xenstore_read(f"/local/domain/{_domid(domid)}/vm")
        uuid = path.removeprefix("/vm/")
        if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid):
            raise Unreadable("the domain has no uuid in xenstore", (path[:200],))
        return uuid

    def xenstore_read(self, path: str) -> str:
        argv = [f"{self.xenstore_dir}/xenstore-read", path]
        try:
            result = shell.run(argv, timeout_seconds=LOOK_SECONDS)
        except shell.CommandTimedOut as stuck:
            raise XlTimedOut(f"xenstore-read did not answer within {stuck.timeout_seconds:g} s") from None
        if result.rc == 0:
            return result.text.rstrip("\n")
        if "couldn't read path" in result.error_text:
            raise NoSuchDomain(f"xenstore has no {path}")
        raise XlFailed(f"xenstore-read {path} ended with {result.rc}", last_words(result.error_text))

    def _act(self, verb: str, domid: int) -> None:
        if _domid(domid) == 0:
            raise NoSuchDomain("Domain-0 is the host itself and is left alone")
        result = self._call(verb, str(domid), timeout_seconds=ACT_SECONDS)
        # `xl pause` of a domid that is not there complains and ends with 0.
        is_refused = verb in {"pause", "unpause", "resume"} and "libxl: error:" in result.error_text
        if result.rc != 0 or is_refused:
            raise failure(verb, result.rc, result.error_text)

    def _run(self, *arguments: str, timeout_seconds: float) -> str:
        result = self._call(*arguments, timeout_seconds=timeout_seconds)
        if result.rc != 0:
            raise failure(arguments[0], result.rc, result.error_text or result.text)
        return result.text

    def _call(self, *arguments: str, timeout_seconds: float) -> shell.Result:
        try:
            return shell.run([self.program, *arguments], timeout_seconds=timeout_seconds)
        except shell.CommandTimedOut:
            raise XlTimedOut(f"xl {arguments[0]} did not end within {timeout_seconds:g} s") from None


# --- parsers -----------------------------------------------------------------------------------


def parse_list(text: str) -> tuple[Domain, ...]:
    """Read `xl list -v`. Domain-0 must be on it: a list without it was cut or is no list."""
    lines = text.split("\n")
    if lines[-1] or not HEADING.fullmatch(lines[0].strip()):
        raise Unreadable("xl list printed something that is not a list", last_words(text))
    rows = [_row(line) for line in lines[1:-1]]
    domids = {row.domid for row in rows}
    if 0 not in domids:
        raise Unreadable("xl list left Domain-0 out", last_words(text))
    if len(domids) < len(rows):
        raise Unreadable("xl list printed an id twice", last_words(text))
    return tuple(row for row in rows if row.domid != 0)


def _row(line: str) -> Domain:
    match = ROW.fullmatch(line)
    # One that has ended or is dying may have lost its name already ("--psr-" in a reboot, seen on Xen 4.20);
    # any other without one is half made.
    if match is None or (
        match["name"] == "(null)" and "s" not in match["flags"] and match["flags"][5] != "d"
    ):
        raise Unreadable("xl list printed a line that cannot be read", (line[:200],))
    return Domain(
        domid=int(match["domid"]),
        name="" if match["name"] == "(null)" else match["name"],
        uuid=match["uuid"],
        memory_mib=int(match["memory"]),
        vcpus=int(match["vcpus"]),
        flags=match["flags"],
        cpu_seconds=float(match["cpu"]),
    )


def parse_info(text: str) -> dict[str, str]:
    """Read `xl info`; the memory and CPU figures must be there."""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[a-z0-9_]+ *", key):
            raise Unreadable("xl info printed a line that cannot be read", (line[:200],))
        facts[key.strip()] = value.strip()
    missing = [key for key in ("nr_cpus", "total_memory", "free_memory", "xen_version") if key not in facts]
    if missing or not text.endswith("\n"):
        raise Unreadable(f"xl info says nothing of {', '.join(missing) or 'its end'}", last_words(text))
    for key in ("nr_cpus", "total_memory", "free_memory"):
        if not re.fullmatch(r"\d+", facts[key], re.ASCII):
            raise Unreadable(f"xl info gives no number for {key}", (facts[key][:200],))
    return facts


def parse_configs(text: str) -> dict[int, dict[str, Any]]:
    """Read `xl list -l`: domid -> its configuration; without Domain-0."""
    try:
        entries = json.loads(text)
        configs = {entry["domid"]: entry["config"] for entry in entries}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Unreadable("xl list -l printed something that is not a list", last_words(text)) from None
    if 0 not in configs or not all(
        type(domid) is int and isinstance(config, Mapping) for domid, config in configs.items()
    ):
        raise Unreadable("xl list -l left Domain-0 out", last_words(text))
    return {domid: config for domid, config in configs.items() if domid != 0}


def failure(verb: str, rc: int, printed: str) -> XlError:
    """Name the error behind what xl printed."""
    if verb == "create":
        meanings = CREATE_FAILURES
        printed = "\n".join(line for line in printed.splitlines() if not TAKING_BACK.search(line))
    else:
        meanings = ((ABSENT, NoSuchDomain),)
    kind = next((kind for pattern, kind in meanings if pattern.search(printed)), XlFailed)
    return kind(f"xl {verb} ended with {rc}", last_words(printed))


def last_words(printed: str, lines: int = 8) -> tuple[str, ...]:
    """Keep the last lines of an output, short enough for a report and free of control characters."""
    cleaned = (re.sub(r"[^\x20-\x7e\u00a0-\uffff]", " ", line).strip() for line in printed.splitlines())
    return tuple(line[:300] for line in cleaned if line)[-lines:]


def _domid(domid: int) -> int:
    if type(domid) is not int or not 0 <= domid < 32752:
        raise NoSuchDomain(f"{domid!r} cannot be a domid")
    return domid


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise XlFailed(f"{path} is not an absolute path")
    return path
