"""The `xl` program and the xenstore tools: one method a verb.

Lives here: the calls, their time-outs, and what their exit codes mean. What they print is read in
`xl_output`; what to do about it belongs to the verbs. Output that cannot be understood is `Unreadable`,
never "no domains". Domains are named by domid, because xl takes a name made of digits for a domid.
"""

import contextlib
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from worker import shell
from worker.xen.xl_output import (
    Domain,
    Unreadable,
    XlError,
    last_words,
    parse_configs,
    parse_info,
    parse_list,
)

__all__ = [  # noqa: RUF022 - what is read, then what can go wrong
    "Domain",
    "Xl",
    "last_words",
    "parse_configs",
    "parse_info",
    "parse_list",
    "failure",
    "BadDomainConfig",
    "BridgeMissing",
    "DiskMissing",
    "DomainExists",
    "KernelMissing",
    "NoMemory",
    "NoSuchDomain",
    "TooSmall",
    "Unreadable",
    "XlError",
    "XlFailed",
    "XlTimedOut",
]

#: how long a verb may take before it counts as stuck; a software-emulated dom0 is slow
LOOK_SECONDS = 15.0
#: how often a list that cannot be read is asked for, and how long it is left alone in between
LOOKS, LOOK_AGAIN_SECONDS = 3, 0.3
ACT_SECONDS = 60.0
CREATE_SECONDS = 300.0


class XlFailed(XlError):
    """xl ended with an error that has no name of its own. Look before believing it: exit codes are hints."""


class XlTimedOut(XlError):
    """xl was still running at the deadline. What it did is unknown until somebody looks."""


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

DOMAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,120}")
#: nothing in it means anything to a shell
SAFE_WORD = re.compile(r"[A-Za-z0-9/._+-]+", re.ASCII)
TTY = re.compile(r"/dev/pts/\d+")


class Xl:
    """The xl of this host. `xenstore_dir` holds xenstore-read and its kin."""

    def __init__(self, program: str = "/usr/sbin/xl", xenstore_dir: str = "/usr/bin") -> None:
        self.program = program
        self.xenstore_dir = xenstore_dir
        #: uuids of domains that stayed half made: nobody waits for those again
        self._left_half_made: frozenset[str] = frozenset()

    # looking

    def info(self) -> dict[str, str]:
        """Read `xl info`, key by key, in its order."""
        return parse_info(self._run("info", timeout_seconds=LOOK_SECONDS))

    def domains(self) -> tuple[Domain, ...]:
        """List every domain but Domain-0. Raises Unreadable rather than leave one out.

        A list that cannot be read may have been disturbed, and a domain is without a name for a moment while
        it is made (seen on Xen 4.20, in a reboot): xl is asked again before either is believed.
        """
        for _ in range(LOOKS - 1):
            with contextlib.suppress(Unreadable):
                found = self._list()
                if half_made(found) <= self._left_half_made:
                    return found
            time.sleep(LOOK_AGAIN_SECONDS)
        found = self._list()
        self._left_half_made = half_made(found)
        return found

    def _list(self) -> tuple[Domain, ...]:
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


def failure(verb: str, rc: int, printed: str) -> XlError:
    """Name the error behind what xl printed."""
    if verb == "create":
        meanings = CREATE_FAILURES
        printed = "\n".join(line for line in printed.splitlines() if not TAKING_BACK.search(line))
    else:
        meanings = ((ABSENT, NoSuchDomain),)
    kind = next((kind for pattern, kind in meanings if pattern.search(printed)), XlFailed)
    return kind(f"xl {verb} ended with {rc}", last_words(printed))


def half_made(domains: Iterable[Domain]) -> frozenset[str]:
    """Uuids of those that are half made."""
    return frozenset(domain.uuid for domain in domains if domain.is_half_made)


def _domid(domid: int) -> int:
    if type(domid) is not int or not 0 <= domid < 32752:
        raise NoSuchDomain(f"{domid!r} cannot be a domid")
    return domid


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise XlFailed(f"{path} is not an absolute path")
    return path
