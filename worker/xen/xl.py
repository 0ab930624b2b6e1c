"""The `xl` program: one method per command.

Defines the calls, their time-outs and the meaning of their exit codes. Output is parsed in `xl_output`.
Output that cannot be parsed raises `Unreadable`; it never means "no domains". Domains are named by domid,
because xl takes a name that consists of digits for a domid.
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

__all__ = [  # noqa: RUF022 - results first, then errors
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

#: how long a command may take before it counts as hung; a software-emulated dom0 is slow
LOOK_SECONDS = 15.0
#: how often an unreadable list is read again, and the delay in between
LOOKS, LOOK_AGAIN_SECONDS = 3, 0.3
ACT_SECONDS = 60.0
CREATE_SECONDS = 300.0


class XlFailed(XlError):
    """xl failed with an unclassified error. Read the list of domains: exit codes are only hints."""


class XlTimedOut(XlError):
    """xl was still running at the deadline. Its effect is unknown until the list of domains is read."""


class DomainExists(XlError):
    """A domain of this name or uuid exists."""


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
    """The bridge of a network card does not exist."""


class BadDomainConfig(XlError):
    """xl cannot read the configuration, or it is not valid."""


#: What libxl prints when a create fails, and the error it means; the first match decides. The texts come from
#: tests/worker/captured/xl-cases-4.20.json.
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
#: how a failed create ends: lines about the removal of the domain, which do not show the cause
TAKING_BACK = re.compile(
    r"libxl_domain_info:|libxl__destroy_domid:|domain_destroy_callback:|domain_destroy_cb:"
    r"|libxl__xs_read_mandatory:|libxl__domain_type:|libxl__userdata_path:|Parsing config from"
)

DOMAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,120}")
#: has no special characters of a shell
SAFE_WORD = re.compile(r"[A-Za-z0-9/._+-]+", re.ASCII)


class Xl:
    """This host's xl."""

    def __init__(self, program: str = "/usr/sbin/xl") -> None:
        self.program = program
        #: uuids of domains that stayed half made and are not waited for again
        self._left_half_made: frozenset[str] = frozenset()

    # looking

    def info(self) -> dict[str, str]:
        """The output of `xl info` by key, in its order. Raises XlError."""
        return parse_info(self._run("info", timeout_seconds=LOOK_SECONDS))

    def domains(self) -> tuple[Domain, ...]:
        """Every domain but Domain-0. Raises Unreadable rather than leave one out, and other XlErrors.

        A list may be unreadable because it changed while it was printed, and a domain has no name for a
        moment while it is made (seen on Xen 4.20, in a reboot). In both cases xl is called again before the
        result is used.
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
        """The domain with this uuid, or None if the list was read and does not have it. Raises XlError."""
        return next((domain for domain in self.domains() if domain.uuid == uuid), None)

    def configs(self) -> dict[int, dict[str, Any]]:
        """The configuration of each domain by domid (`xl list -l`), without Domain-0. Raises XlError."""
        return parse_configs(self._run("list", "-l", timeout_seconds=LOOK_SECONDS))

    # acting

    def create(self, cfg_path: Path, *, timeout_seconds: float = CREATE_SECONDS) -> None:
        """Create a domain from a configuration. Raises XlError, by its cause where that is known."""
        self._run("create", "-q", str(_absolute(cfg_path)), timeout_seconds=timeout_seconds)

    def destroy(self, domid: int) -> None:
        """Destroy a domain at once. Raises XlError."""
        self._act("destroy", domid)

    def shutdown(self, domid: int) -> None:
        """Ask the guest to power off. The domain and its name disappear some time later. Raises XlError."""
        self._act("shutdown", domid)

    def reboot(self, domid: int) -> None:
        """Ask the guest to restart. The domain comes back with another domid. Raises XlError."""
        self._act("reboot", domid)

    def unpause(self, domid: int) -> None:
        """Let a paused domain run. Raises XlError."""
        self._act("unpause", domid)

    def rename(self, domid: int, name: str) -> None:
        """Rename a domain. Raises XlError."""
        if not DOMAIN_NAME.fullmatch(name):
            raise XlFailed(f"{name!r} cannot be the name of a domain")
        self._run("rename", str(_domid(domid)), name, timeout_seconds=ACT_SECONDS)

    def resume(self, domid: int) -> None:
        """Resume a suspended guest. Xen's own tools have this command since 4.20. Raises XlError."""
        self._act("resume", domid)

    # migration: the following return command lines of programs that run as long as the migration

    def migrate(self, domid: int, command: str) -> list[str]:
        """The command line that sends a domain through `command`, which xl gives to a shell.

        Raises XlFailed.
        """
        words = command.split(" ")
        if not all(SAFE_WORD.fullmatch(word) for word in words):
            raise XlFailed("a transport with such a name is not given to a shell")
        return [self.program, "migrate", "-s", "", str(_domid(domid)), command]

    def migrate_receive(self) -> list[str]:
        """The command line that receives a domain from standard input."""
        return [self.program, "migrate-receive"]

    def save(self, domid: int, path: Path) -> list[str]:
        """The command line that saves a domain to a file or pipe and leaves it paused here."""
        return [self.program, "save", "-p", str(_domid(domid)), str(_absolute(path))]

    def restore(self, path: Path) -> list[str]:
        """The command line that makes a domain from a file or pipe and leaves it paused."""
        return [self.program, "restore", "-p", str(_absolute(path))]

    def _act(self, verb: str, domid: int) -> None:
        if _domid(domid) == 0:
            raise NoSuchDomain("Domain-0 is the host itself and is left alone")
        result = self._call(verb, str(domid), timeout_seconds=ACT_SECONDS)
        # `xl unpause` of a domid that does not exist prints an error and ends with 0
        is_refused = verb in {"unpause", "resume"} and "libxl: error:" in result.error_text
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
    """The error that xl's output means."""
    if verb == "create":
        meanings = CREATE_FAILURES
        printed = "\n".join(line for line in printed.splitlines() if not TAKING_BACK.search(line))
    else:
        meanings = ((ABSENT, NoSuchDomain),)
    kind = next((kind for pattern, kind in meanings if pattern.search(printed)), XlFailed)
    return kind(f"xl {verb} ended with {rc}", last_words(printed))


def half_made(domains: Iterable[Domain]) -> frozenset[str]:
    """Uuids of the domains that are half made."""
    return frozenset(domain.uuid for domain in domains if domain.is_half_made)


def _domid(domid: int) -> int:
    if type(domid) is not int or not 0 <= domid < 32752:
        raise NoSuchDomain(f"{domid!r} cannot be a domid")
    return domid


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise XlFailed(f"{path} is not an absolute path")
    return path
