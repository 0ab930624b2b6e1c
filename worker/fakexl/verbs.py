"""The verbs of the stand-in `xl`, with the arguments, words and exit codes of the real one.

Lives here: one function a verb over the locked state. `xl create` is in `worker.fakexl.create`, the
texts of lists in `worker.fakexl.printing`.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from worker.fakexl import printing, settings, state
from worker.fakexl.faults import Faults
from worker.fakexl.refusal import Refusal

#: a verb gives what goes to standard output and what goes to standard error
Printed = tuple[str, str]


class Host:
    """The stand-in host a command works on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = settings.load(directory)
        self.store = state.Store(directory, self.settings.host)

    def everything(self, known: state.State) -> list[state.Domain]:
        return [printing.dom0(self.settings), *known.domains.values()]

    def find(self, known: state.State, word: str) -> state.Domain:
        """Find a domain as xl does: digits are a domid, anything else a name."""
        for domain in self.everything(known):
            if (str(domain.domid) if word.isdigit() else domain.name) == word:
                return domain
        raise Refusal(f"{word} is an invalid domain identifier (rc=-6)\n")


def run(directory: Path, arguments: list[str]) -> Printed:
    """Run one xl command. Raises Refusal."""
    while arguments and arguments[0] in {"-v", "-vv", "-vvv", "-f", "-N", "-t"}:
        arguments = arguments[1:]
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if verb not in VERBS:
        raise Refusal(f"command not implemented\n{USAGE}" if verb != "help" else USAGE)
    faults = Faults(directory, verb)
    faults.reach("start")
    flags = [word for word in rest if word.startswith("-")]
    words = [word for word in rest if not word.startswith("-")]
    out, err = VERBS[verb](Host(directory), flags, words, faults)
    faults.reach("done")
    return faults.garble(out), err


def _info(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    with host.store.locked() as known:
        return printing.info(host.settings, known), ""


def _list(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    with host.store.locked() as known:
        domains = [host.find(known, words[0])] if words else host.everything(known)
        if {"-l", "--long"} & set(flags):
            return printing.long_listing(domains), ""
        return printing.listing(domains, is_verbose=bool({"-v", "--verbose"} & set(flags))), ""


def _vcpu_list(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    with host.store.locked() as known:
        domains = [host.find(known, words[0])] if words else host.everything(known)
        return printing.vcpu_listing(domains), ""


def _create(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    from worker.fakexl.create import create  # loads ctypes and the contract, which no other verb needs

    if not words:
        raise Refusal("'xl create' requires at least 1 argument.\n", rc=2)
    err = create(
        host.directory, Path(words[0]), is_paused=bool({"-p", "--paused"} & set(flags)), faults=faults
    )
    return "", "" if {"-q", "--quiet"} & set(flags) else err


def _destroy(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    with host.store.locked() as known:
        domain = host.find(known, _one("destroy", words))
        if domain.domid == 0:
            raise Refusal("Cannot destroy privileged domain 0.\n\n")
        state.end_process(domain.pid, domain.pid_start)
        (host.directory / "pids" / str(domain.pid)).unlink(missing_ok=True)
        host.store.stopped(known, domain)
    return "", ""


def _shutdown(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    return _signal(host, flags, _one("shutdown", words), signal.SIGTERM, "Shutting down domain")


def _reboot(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    return _signal(host, flags, _one("reboot", words), signal.SIGUSR1, "Rebooting domain")


def _signal(host: Host, flags: list[str], word: str, number: signal.Signals, said: str) -> Printed:
    with host.store.locked() as known:
        domain = host.find(known, word)
        if domain.domid == 0:
            raise Refusal("Cannot shutdown privileged domain 0.\n")
        if state.is_alive(domain.pid, domain.pid_start):
            os.kill(domain.pid, number)
    out = f"{said} {domain.domid}\n"
    if {"-w", "--wait"} & set(flags):
        _wait_for_end(host, domain.domid)
        out += f"Waiting for 1 domains\nDomain {domain.domid} has been shut down, reason code 0\n"
    return out, ""


def _wait_for_end(host: Host, domid: int) -> None:
    """Wait as `shutdown -w` does: it returns while the ended domain still holds its name."""
    while True:
        with host.store.locked() as known:
            domain = known.domains.get(domid)
            if domain is None or domain.shutdown_letter:
                return
        time.sleep(0.02)


def _pause(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    return _hold(host, _one("pause", words), is_paused=True)


def _unpause(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    return _hold(host, _one("unpause", words), is_paused=False)


def _hold(host: Host, word: str, *, is_paused: bool) -> Printed:
    with host.store.locked() as known:
        domain = host.find(known, word)
        if domain.domid == 0:
            raise Refusal("libxl: error: libxl_domain.c:579:libxl_domain_pause: Domain 0:Pausing domain\n")
        if not domain.shutdown_letter:
            os.kill(domain.pid, signal.SIGSTOP if is_paused else signal.SIGCONT)
            domain.is_paused = is_paused
    return "", ""


def _domid(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    name = _one("domid", words)
    with host.store.locked() as known:
        for domain in host.everything(known):
            if domain.name == name:
                return f"{domain.domid}\n", ""
    raise Refusal(f"Can't get domid of domain name '{name}', maybe this domain does not exist.\n")


def _domname(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    word = _one("domname", words)
    if not word.isdigit():
        raise Refusal(f"Invalid domain id {word}.\n\n")
    with host.store.locked() as known:
        for domain in host.everything(known):
            if str(domain.domid) == word:
                return f"{domain.name}\n", ""
    raise Refusal(f"Can't get domain name of domain id '{word}', maybe this domain does not exist.\n")


def _uptime(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    lines = [f"{'Name':<33}{'ID':>4} Uptime"]
    with host.store.locked() as known:
        for domain in [host.find(known, word) for word in words] or host.everything(known):
            up = int(time.time() - domain.started_at) if domain.domid else 86400
            clock = f"{up // 3600 % 24:2}:{up // 60 % 60:02}:{up % 60:02}"
            lines.append(f"{domain.name:<32} {domain.domid:>4} {up // 86400} days, {clock}")
    return "\n".join(lines) + "\n", ""


def _mem_set(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    if len(words) != 2:
        raise Refusal("'xl mem-set' requires at least 2 arguments.\n", rc=2)
    with host.store.locked() as known:
        domain = host.find(known, words[0])
        digits = words[1].lower().removesuffix("m")
        if not digits.isdigit() or domain.domid == 0:
            raise Refusal(f"invalid memory size: {words[1]}\n", rc=3)
        if not 0 < int(digits) <= domain.maxmem_mib:
            raise Refusal(
                "libxl: error: libxl_mem.c:300:libxl_set_memory_target: memory_dynamic_max must be less "
                "than or equal to memory_static_max\n"
            )
        domain.memory_mib = int(digits)
    return "", ""


def _dmesg(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    return "(XEN) [00000000] Xen version 4.20.5-pre (fakexl, no hypervisor)\n", ""


def _console(host: Host, flags: list[str], words: list[str], faults: Faults) -> Printed:
    with host.store.locked() as known:
        tty = host.find(known, _one("console", words)).tty
    from worker.fakexl.attach import attach  # only this verb talks to a terminal

    raise Refusal("", rc=attach(tty))


def _one(verb: str, words: list[str]) -> str:
    if not words:
        raise Refusal(f"'xl {verb}' requires at least 1 argument.\n", rc=2)
    return words[0]


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
}
USAGE = (
    "Usage xl [-vfNtT] <subcommand> [args]\n\nxl full list of subcommands:\n\n"
    + "".join(f" {verb}\n" for verb in sorted(VERBS))
    + "\n"
)
