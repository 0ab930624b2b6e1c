"""migrate, migrate-receive, save, restore, rename, suspend and resume of the stand-in `xl`.

Both sides of a migration use real xl's protocol byte for byte: its messages, its save file, records with
Xen's own numbers, and a guest that is paused during the last pass. A domain that is paused before it ever ran
here, or suspended, does not run, and the recording shows that.
"""

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from devtools.fakexl import domain as processes
from devtools.fakexl import printing, state, words
from devtools.fakexl.faults import Faults
from devtools.fakexl.refusal import Refusal
from worker import shell
from worker.relay import xl_stream as wire

PAGE = bytes(4096)
PAGES_A_RECORD = 16
#: passes over the memory; the guest is stopped before the last one
PASSES = 3


class _Broken(Exception):
    """The other side has gone or does not follow the protocol."""


# --- the stream --------------------------------------------------------------------------------


def _record(kind: int, body: bytes = b"") -> bytes:
    return wire.RECORD.pack(kind, len(body)) + body + bytes(-len(body) % 8)


def _opening(domain: state.Domain) -> bytes:
    config = json.dumps(dataclasses.asdict(domain)).encode() + b"\0"
    optional = len(config).to_bytes(4, "little") + config
    header = wire.SAVE_HEADER.pack(wire.MAGIC, wire.BYTE_ORDER, wire.SAVE_FLAGS, 0, len(optional))
    kinds = {"pv": 1}
    return (
        header
        + optional
        + wire.LIBXL_HEADER.pack(wire.LIBXL_IDENT, wire.LIBXL_VERSION, 0)
        + _record(wire.LIBXC_CONTEXT)
        + wire.LIBXC_HEADER.pack(wire.LIBXC_MARKER, wire.LIBXC_IDENT, 3, 0, 0, 0)
        + wire.DOMAIN_HEADER.pack(kinds.get(domain.type, 2), 12, 0, 4, 20)
    )


def _memory(count: int) -> Iterator[bytes]:
    """One pass: page records from the first frame upwards."""
    for number in range(count):
        first = number * PAGES_A_RECORD
        pfns = b"".join((first + index).to_bytes(8, "little") for index in range(PAGES_A_RECORD))
        head = PAGES_A_RECORD.to_bytes(4, "little") + bytes(4)
        yield _record(wire.PAGE_DATA, head + pfns + PAGE * PAGES_A_RECORD)


#: another record (HVM parameters), the end of the memory, the end of the domain
CLOSING = _record(0xA, bytes(20)) + _record(wire.END) + _record(wire.END)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        raise _Broken(str(error)) from None


def _read(fd: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        piece = os.read(fd, min(size - len(parts), 1 << 18))
        if not piece:
            raise _Broken("end of file")
        parts += piece
    return bytes(parts)


def _expect(fd: int, text: bytes, what: str) -> None:
    if _read(fd, len(text)) != text:
        raise _Broken(f"unexpected data instead of {what}")


# --- the source --------------------------------------------------------------------------------


def migrate(host: Any, flags: list[str], rest: list[str], faults: Faults) -> tuple[str, str]:
    """`xl migrate -s "" DOMAIN COMMAND`. A shell runs the command, as with the real xl."""
    if len(rest) != 3 or rest[0] != "" or "-s" not in flags:
        raise Refusal("the stand-in migrates with -s '' only\n", rc=2)
    with host.store.locked() as known:
        domain = host.find(known, "migrate", rest[1])
    child, to_child, from_child = _transport(rest[2])
    try:
        _send(host, domain, to_child, from_child, faults)
    except _Broken:
        os.close(to_child)
        os.close(from_child)
        resume_here(host, domain.domid)
        raise Refusal("Migration failed, resuming at sender.\n") from None
    finally:
        # xl waits a moment for its transport and reports how it ended
        _wait(child)
    return "", "migration sender: Target reports successful startup.\nMigration successful.\n"


def _transport(command: str) -> tuple[int, int, int]:
    send_out, send_in = os.pipe()
    receive_out, receive_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(send_out, 0)
        os.dup2(receive_in, 1)
        for fd in (send_out, send_in, receive_out, receive_in):
            os.close(fd)
        try:
            shell.become(["sh", "-c", command])
        finally:
            os._exit(126)
    os.close(send_out)
    os.close(receive_in)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return pid, send_in, receive_out


def _wait(child: int) -> None:
    until = time.monotonic() + 2.0
    while time.monotonic() < until and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.005)


def _send(host: Any, domain: state.Domain, out: int, back: int, faults: Faults) -> None:
    _expect(back, wire.BANNER, "banner")
    faults.reach("banner")
    send_domain(host, domain, out, faults, is_live=True)
    faults.reach("sent")
    _expect(back, wire.READY, "ready message")
    faults.reach("ready")
    _rename(host, domain.domid, f"{domain.name}--migratedaway")
    try:
        _write(out, wire.GO)
        faults.reach("go")
        _expect(back, wire.REPORT, "success/failure report message")
        code = _read(back, 1)
        if code != b"\0":
            _expect(back, wire.GO, "permission for sender to resume")
    except _Broken:
        raise Refusal(UNDEFINED) from None
    if code != b"\0":
        _rename(host, domain.domid, domain.name)
        resume_here(host, domain.domid)
        raise Refusal("Migration failed due to problems at target.\n")
    faults.reach("reported")
    destroy(host, domain.domid)


UNDEFINED = (
    "** Migration failed during final handshake **\nDomain state is now undefined !\n"
    "Please CHECK AT BOTH ENDS for running instances, before renaming and\n"
    " resuming at most one instance.  Two simultaneous instances of the domain\n"
    " would probably result in SEVERE DATA LOSS and it is now your\n"
    " responsibility to avoid that.  Sorry.\n"
)


def send_domain(host: Any, domain: state.Domain, out: int, faults: Faults, *, is_live: bool) -> None:
    """Write the whole domain. It is suspended when this returns."""
    _write(out, _opening(domain))
    if is_live and domain.type == "pv":
        # Debian's Xen has no shadow paging
        raise Refusal(
            "xc: error: Failed to enable logdirty: 95,22,95: Internal error\n"
            "xc: error: Save failed (95 = Operation not supported): Internal error\n"
            "migration sender: libxl_domain_suspend failed (rc=-3)\n"
            "Migration failed, resuming at sender.\n"
        )
    if not is_live:
        suspend_here(host, domain.domid)
    passes = PASSES if is_live else 1
    for number in range(passes):
        if is_live and number == passes - 1:
            suspend_here(host, domain.domid)
            faults.reach("suspended")
        count = max(1, (host.settings.migrate_bytes >> number) // len(PAGE) // PAGES_A_RECORD)
        for index, record in enumerate(_memory(count)):
            tenth = index * 10 // count
            if number == 0 and tenth != (index - 1) * 10 // count:
                faults.reach(f"{tenth}0 %")
            _write(out, record)
            time.sleep(host.settings.migrate_seconds / passes / count)
    _write(out, CLOSING)


# --- the target --------------------------------------------------------------------------------


def receive(host: Any, flags: list[str], names: list[str], faults: Faults) -> tuple[str, str]:
    """`xl migrate-receive`: reads a domain from standard input and replies on standard output."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        _write(1, wire.BANNER)
        domain = read_domain(host, 0, "--incoming", faults)
        faults.reach("received")
        _write(1, wire.READY)
    except _Broken as broken:
        raise Refusal(f"migration target: Domain creation failed ({broken}).\n") from None
    code = _take_over(host, domain, faults)
    try:
        _write(1, wire.REPORT + bytes([code]))
        if code:
            destroy(host, domain.domid)
            _write(1, wire.GO)
    except _Broken:
        # like the real xl, it leaves its copy paused
        raise Refusal("migration target: cannot write the report\n") from None
    return "", ""


def _take_over(host: Any, domain: state.Domain, faults: Faults) -> int:
    try:
        _expect(0, wire.GO, "GO message")
    except _Broken:
        return 1
    faults.reach("go")
    if faults.fault.get("cannot_unpause"):
        return 3
    try:
        _rename(host, domain.domid, domain.name.removesuffix("--incoming"))
    except Refusal:
        return 6
    faults.reach("renamed")
    wake(host, domain.domid)
    faults.reach("running")
    return 0


def read_domain(host: Any, fd: int, suffix: str, faults: Faults) -> state.Domain:
    """Read a saved domain and make it here, paused. Raises Refusal and _Broken."""
    header = _read(fd, wire.SAVE_HEADER.size)
    optional = _read(fd, wire.SAVE_HEADER.unpack(header)[4])
    stream = wire.DomainStream()
    stream.feed(header + optional)
    while not stream.is_ended:
        # byte by byte towards the end, because GO must stay in the pipe
        piece = _read(fd, max(1, stream.due))
        stream.feed(piece)
    return _make(host, json.loads(optional[4:-1]), suffix)


def _make(host: Any, values: dict[str, Any], suffix: str) -> state.Domain:
    domain = state.Domain(**values)
    with host.store.locked() as known:
        domain.domid = known.take_domid()
        domain.name += suffix
        refused = _why_not(host, known, domain)
        if not refused:
            domain.pauses, domain.shutdown_letter, domain.is_asleep = 1, "", True
            domain.keys = {**domain.keys, "is_moved": True}
            processes.fork_domain(host.directory, domain)
            host.store.added(known, domain)
    if refused:
        raise Refusal(refused + words.create_tail(domain.domid), rc=3)
    return domain


def _why_not(host: Any, known: state.State, domain: state.Domain) -> str:
    if known.by_name(domain.name) is not None:
        return words.name_taken(domain.domid, domain.name)
    if domain.maxmem_mib + printing.OVERHEAD_MIB > printing.free_memory_mib(host.settings, known):
        return words.no_memory(domain.domid)
    missing = next((target for target, _, _ in domain.disks if not Path(target).exists()), "")
    if missing:
        return words.disk_unusable(f"Disk failed to stat: {missing}: No such file or directory")
    bridges = host.settings.bridges.split()
    nic = next((nic for nic in domain.keys["nics"] if bridges and nic["bridge"] not in bridges), None)
    return words.no_bridge(domain.domid, nic["bridge"]) if nic else ""


# --- single steps ------------------------------------------------------------------------------


def save(host: Any, flags: list[str], names: list[str], faults: Faults) -> tuple[str, str]:
    """`xl save [-p] DOMAIN FILE`."""
    with host.store.locked() as known:
        domain = host.find(known, "save", names[0])
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    out = os.open(names[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    faults.reach("opened")
    try:
        send_domain(host, domain, out, faults, is_live=False)
    except _Broken:
        resume_here(host, domain.domid)
        raise Refusal("Failed to save domain, resuming domain\n") from None
    finally:
        os.close(out)
    faults.reach("sent")
    if "-p" in flags:
        # Resumed and paused at once: it stays where it was and continues when it is unpaused.
        with host.store.locked() as known:
            mine = known.domains[domain.domid]
            mine.shutdown_letter, mine.pauses, mine.is_asleep = "", mine.pauses + 1, True
    else:
        destroy(host, domain.domid)
    return "", ""


def restore(host: Any, flags: list[str], names: list[str], faults: Faults) -> tuple[str, str]:
    """`xl restore [-p] FILE`."""
    fd = os.open(names[0], os.O_RDONLY)
    try:
        domain = read_domain(host, fd, "", faults)
    except _Broken as broken:
        raise Refusal(f"Loading new save file failed: {broken}\n", rc=3) from None
    finally:
        os.close(fd)
    faults.reach("received")
    if "-p" not in flags:
        wake(host, domain.domid)
    return "", ""


def rename(host: Any, flags: list[str], names: list[str], faults: Faults) -> tuple[str, str]:
    with host.store.locked() as known:
        domid = host.find(known, "rename", names[0]).domid
    _rename(host, domid, names[1])
    return "", ""


def _rename(host: Any, domid: int, name: str) -> None:
    with host.store.locked() as known:
        if known.by_name(name) is not None:
            raise Refusal(words.name_taken(domid, name), rc=1)
        known.domains[domid].name = name


def suspend(host: Any, flags: list[str], names: list[str], faults: Faults) -> tuple[str, str]:
    return _by_domid(host, names, "suspend", suspend_here)


def resume(host: Any, flags: list[str], names: list[str], faults: Faults) -> tuple[str, str]:
    return _by_domid(host, names, "resume", resume_here)


def _by_domid(host: Any, names: list[str], verb: str, act: Callable[[Any, int], None]) -> tuple[str, str]:
    with host.store.locked() as known:
        domid = host.find(known, verb, names[0]).domid
    act(host, domid)
    return "", ""


def suspend_here(host: Any, domid: int) -> None:
    """Stop the guest and keep its domain, shut down with the reason "suspend"."""
    with host.store.locked() as known:
        domain = known.domains.get(domid)
        if domain is None:
            raise _Broken("the domain went away")
        os.kill(domain.pid, signal.SIGSTOP)
        host.store.halted(domain, "s")


def resume_here(host: Any, domid: int) -> None:
    """Resume a suspended guest. A running one is left alone."""
    with host.store.locked() as known:
        domain = known.domains.get(domid)
        if domain is not None and domain.shutdown_letter == "s":
            domain.shutdown_letter = ""
            host.store.woken(domain)
            if not domain.is_paused:
                os.kill(domain.pid, signal.SIGCONT)


def wake(host: Any, domid: int) -> None:
    """Unpause a domain that never ran here."""
    with host.store.locked() as known:
        domain = known.domains.get(domid)
        if domain is not None:
            domain.pauses = max(0, domain.pauses - 1)
            host.store.woken(domain)
            os.kill(domain.pid, signal.SIGCONT)


def destroy(host: Any, domid: int) -> None:
    with host.store.locked() as known:
        domain = known.domains.get(domid)
        if domain is not None:
            state.end_process(domain.pid, domain.pid_start)
            (host.directory / "pids" / str(domain.pid)).unlink(missing_ok=True)
            host.store.stopped(known, domain)
