"""The commands of the stand-in `xl`, with the arguments, messages and exit codes of the real one.

One function per command, over the locked state. `xl create` is in `devtools.fakexl.create`, the output of
lists in `devtools.fakexl.printing`.
"""

import functools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from devtools.fakexl import printing, settings, state, words
from devtools.fakexl.faults import Faults
from devtools.fakexl.refusal import Refusal

#: what a command prints to standard output and to standard error
Printed = tuple[str, str]
MOVING = ("migrate", "migrate-receive", "save", "restore", "rename", "suspend", "resume")


class Host:
    """The stand-in host on which a command works."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = settings.load(directory)
        self.store = state.Store(directory, self.settings.host)

    def everything(self, known: state.State) -> list[state.Domain]:
        return [printing.dom0(self.settings), *known.domains.values()]

    def find(self, known: state.State, verb: str, word: str) -> state.Domain:
        """Find a domain as xl does: digits are a domid, anything else a name. Raises Refusal."""
        for domain in self.everything(known):
            if (str(domain.domid) if word.isdigit() else domain.name) == word:
                return domain
        if word.isdigit() and verb in words.ABSENT_DOMID:
            said, rc = words.ABSENT_DOMID[verb]
            raise Refusal(said.format(domid=word), rc)
        raise Refusal(f"{word} is an invalid domain identifier (rc=-6)\n")


def run(directory: Path, arguments: list[str]) -> Printed:
    """Run one xl command. Returns its output. Raises Refusal."""
    while arguments and arguments[0] in {"-v", "-vv", "-vvv", "-f", "-N", "-t"}:
        arguments = arguments[1:]
    if not arguments or arguments[0] == "help":
        print(USAGE, end="")
        raise Refusal("", rc=0 if arguments else 1)
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        raise Refusal("command not implemented\n")
    faults = Faults(directory, verb)
    faults.reach("start")
    flags = [word for word in rest if word.startswith("-")]
    names = [word for word in rest if not word.startswith("-")]
    out, err = VERBS[verb](Host(directory), flags, names, faults)
    faults.reach("done")
    return faults.garble(out), err


def _info(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    with host.store.locked() as known:
        return printing.info(host.settings, known), ""


def _list(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    with host.store.locked() as known:
        domains = [host.find(known, "list", names[0])] if names else host.everything(known)
        if {"-l", "--long"} & set(flags):
            return printing.long_listing(domains), ""
        return printing.listing(domains, is_verbose=bool({"-v", "--verbose"} & set(flags))), ""


def _vcpu_list(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    with host.store.locked() as known:
        domains = [host.find(known, "list", names[0])] if names else host.everything(known)
        return printing.vcpu_listing(domains), ""


def _create(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    from devtools.fakexl.create import create  # loads ctypes and the contract, which no other command needs

    if not names:
        raise Refusal("Config file not specified and none in save file\n", rc=6)
    said = "" if {"-q", "--quiet"} & set(flags) else f"Parsing config from {names[0]}\n"
    is_paused = bool({"-p", "--paused"} & set(flags))
    create(host.directory, Path(names[0]), is_paused=is_paused, said=said, faults=faults)
    return "", said


def _destroy(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    with host.store.locked() as known:
        domain = host.find(known, "destroy", _one("destroy", names))
        if domain.domid == 0:
            raise Refusal(words.DESTROY_DOM0)
        # The process also plays xl's watcher: one that is about to make the next domain continues with that.
        if domain.shutdown_letter != "r":
            state.end_process(domain.pid, domain.pid_start)
            (host.directory / "pids" / str(domain.pid)).unlink(missing_ok=True)
        host.store.stopped(known, domain)
    return "", ""


def _shutdown(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    return _signal(host, flags, "shutdown", _one("shutdown", names))


def _reboot(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    return _signal(host, flags, "reboot", _one("reboot", names))


def _signal(host: Host, flags: list[str], verb: str, word: str) -> Printed:
    number, begun = {
        "shutdown": (signal.SIGTERM, "Shutting down domain"),
        "reboot": (signal.SIGUSR1, "Rebooting domain"),
    }[verb]
    with host.store.locked() as known:
        domain = host.find(known, verb, word)
        if state.is_alive(domain.pid, domain.pid_start):
            os.kill(domain.pid, number)
    err = f"{begun} {domain.domid}\n"
    if domain.domid == 0:
        # The real xl does so, and the host goes down with everything that runs on it.
        state.kill_all(host.directory)
    elif {"-w", "--wait"} & set(flags):
        _wait_for_end(host, domain.domid)
        err += f"Waiting for 1 domains\nDomain {domain.domid} has been shut down, reason code 0\n"
    return "", err


def _wait_for_end(host: Host, domid: int) -> None:
    """Wait as `shutdown -w` does: it returns while the ended domain still holds its name."""
    while True:
        with host.store.locked() as known:
            domain = known.domains.get(domid)
            if domain is None or domain.shutdown_letter:
                return
        time.sleep(0.02)


def _pause(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    return _hold(host, "pause", _one("pause", names), is_paused=True)


def _unpause(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    return _hold(host, "unpause", _one("unpause", names), is_paused=False)


def _hold(host: Host, verb: str, word: str, *, is_paused: bool) -> Printed:
    with host.store.locked() as known:
        domain = host.find(known, verb, word)
        if domain.domid == 0:
            raise Refusal(words.PAUSE_DOM0, rc=0)
        if not is_paused and not domain.is_paused:
            raise Refusal(words.UNPAUSE_RUNNING.format(domid=domain.domid), rc=0)
        if not domain.shutdown_letter:
            domain.pauses = max(0, domain.pauses + (1 if is_paused else -1))
            if domain.is_asleep:
                host.store.woken(domain)
            os.kill(domain.pid, signal.SIGSTOP if domain.is_paused else signal.SIGCONT)
    return "", ""


def _moving(verb: str, host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    from devtools.fakexl import moving  # only a migration needs it

    verbs = {
        "migrate": moving.migrate,
        "migrate-receive": moving.receive,
        "save": moving.save,
        "restore": moving.restore,
        "rename": moving.rename,
        "suspend": moving.suspend,
        "resume": moving.resume,
    }
    return verbs[verb](host, flags, names, faults)


def _domid(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    name = _one("domid", names)
    with host.store.locked() as known:
        for domain in host.everything(known):
            if domain.name == name:
                return f"{domain.domid}\n", ""
    raise Refusal(f"Can't get domid of domain name '{name}', maybe this domain does not exist.\n")


def _domname(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    word = _one("domname", names)
    if not word.isdigit():
        raise Refusal(f"Invalid domain id {word}.\n\n")
    with host.store.locked() as known:
        for domain in host.everything(known):
            if str(domain.domid) == word:
                return f"{domain.name}\n", ""
    raise Refusal(f"Can't get domain name of domain id '{word}', maybe this domain does not exist.\n")


def _uptime(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    lines = ["Name                                ID Uptime"]
    with host.store.locked() as known:
        for domain in [host.find(known, "uptime", word) for word in names] or host.everything(known):
            up = int(time.time() - domain.started_at) if domain.domid else 86399
            clock = f"{up // 3600}:{up // 60 % 60:02}:{up % 60:02}"
            lines.append(f"{domain.name:<32} {domain.domid:5}  {clock}")
    return "\n".join(lines) + "\n", ""


def _mem_set(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    if len(names) != 2:
        raise Refusal("'xl mem-set' requires at least 2 arguments.\n", rc=2)
    with host.store.locked() as known:
        domain = host.find(known, "mem-set", names[0])
        digits = names[1].lower().removesuffix("m")
        if not digits.isdigit() or domain.domid == 0:
            raise Refusal(f"invalid memory size: {names[1]}\n")
        if not 0 < int(digits) <= domain.maxmem_mib:
            raise Refusal(
                f"libxl: error: libxl_mem.c:278:libxl_set_memory_target: Domain {domain.domid}:"
                "memory_dynamic_max must be less than or equal to memory_static_max\n\n"
                f"cannot set domid {domain.domid} dynamic max memory to : {digits}\n"
            )
        domain.memory_mib = int(digits)
    return "", ""


def _dmesg(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    return "(XEN) [00000000] Xen version 4.20.5-pre (fakexl, no hypervisor)\n", ""


def _console(host: Host, flags: list[str], names: list[str], faults: Faults) -> Printed:
    with host.store.locked() as known:
        tty = host.find(known, "console", _one("console", names)).tty
    from devtools.fakexl.attach import attach  # only this command uses a terminal

    raise Refusal("", rc=attach(tty))


def _one(verb: str, names: list[str]) -> str:
    if not names:
        raise Refusal(f"'xl {verb}' requires at least 1 argument.\n\n", rc=2)
    return names[0]


VERBS: dict[str, Callable[[Host, list[str], list[str], Faults], Printed]] = {
    "info": _info,
    "list": _list,
    "vcpu-list": _vcpu_list,
    "create": _create,
    "destroy": _destroy,
    "shutdown": _shutdown,
    "reboot": _reboot,
    "pause": _pause,
    "unpause": _unpause,
    "domid": _domid,
    "domname": _domname,
    "uptime": _uptime,
    "mem-set": _mem_set,
    "dmesg": _dmesg,
    "console": _console,
    **{verb: functools.partial(_moving, verb) for verb in MOVING},
}
USAGE = (
    "Usage xl [-vfNtT] <subcommand> [args]\n\nxl full list of subcommands:\n\n"
    + "".join(f" {verb}\n" for verb in sorted(VERBS))
    + "\n"
)
