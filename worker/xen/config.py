"""Xen domain configurations: writes xl.cfg text from an order, and reads facts from xl.cfg or xm text.

Pure functions. Xen's own parser is called in `worker.xen.libxlutil`. xl.cfg is not Python: `;` separates
statements, the last assignment wins, `+=` appends, and backslashes are not standard. So nothing is ever
escaped: a value that does not match its pattern is refused.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from worker.contract import UUID, MachineSpec, NicSpec, cpuid_lines, read_features

Value = str | tuple[str, ...]
#: key -> text, or the texts of a list; numbers are text, as in Xen's own parser
Keys = dict[str, Value]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
#: hidden folders are allowed, e.g. a developer's .webxen; "." and ".." are not
PATH = re.compile(r"(/\.?[A-Za-z0-9_+-][A-Za-z0-9_.+-]*)+")
VDEV = re.compile(r"(xvd|hd|sd)[a-z][0-9]{0,2}")
MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")
BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
KERNEL_WORDS = re.compile(r"[A-Za-z0-9_./:=,+@%-]+( [A-Za-z0-9_./:=,+@%-]+)*")
FIXED = re.compile(r"[a-z]+")

#: names with a meaning in xl: dom0, and the two names of a domain in a migration
RESERVED_NAMES = ("domain-0", "xen")
RESERVED_ENDINGS = ("--migratedaway", "--incoming")

#: the only keys that are ever written, with the pattern of their value (or of each item)
TEXTS = {
    "name": NAME,
    "uuid": UUID,
    "type": FIXED,
    "kernel": PATH,
    "ramdisk": PATH,
    "root": KERNEL_WORDS,
    "extra": KERNEL_WORDS,
    "on_poweroff": FIXED,
    "on_reboot": FIXED,
    "on_crash": FIXED,
}
NUMBERS = ("memory", "maxmem", "vcpus")
LIST_ITEM = re.compile(r"[a-z]+=[A-Za-z0-9_./:+-]+(,[a-z]+=[A-Za-z0-9_./:+-]+)*")
CPUID_ITEM = re.compile(r"0x[0-9a-f]{1,8}(,[01])?:e[a-d]x=[0x]{32}(,e[a-d]x=[0x]{32})*")
LISTS = {"disk": LIST_ITEM, "vif": LIST_ITEM, "cpuid": CPUID_ITEM}

MAX_MEMORY_MIB = 16 << 20
MAX_VCPUS = 512


class RefusedValue(Exception):
    """A value that must not be written into a domain configuration. It is never escaped, always refused."""

    def __init__(self, key: str, value: object) -> None:
        self.key = key
        super().__init__(f"{key} cannot be written into a domain configuration: {str(value)[:80]!r}")


class BadConfig(Exception):
    """Text that is not a domain configuration; the message names the line."""


# --- writing -----------------------------------------------------------------------------------


def keys_of(
    spec: MachineSpec,
    *,
    virt_type: Literal["PV", "PVH"],
    kernel_path: str,
    ramdisk_path: str = "",
    disk_paths: Mapping[str, str],
    seed_path: str = "",
) -> Keys:
    """The configuration by key. `disk_paths` maps DiskSpec.id to a file or block device.

    `write` makes text of it; `differences` compares it with what Xen's own parser reads back. Raises
    RefusedValue, BadFeatures.
    """
    if virt_type not in {"PV", "PVH"}:
        raise RefusedValue("type", virt_type)
    keys: Keys = {
        "name": _domain_name(spec.domain),
        "uuid": spec.id,
        "type": virt_type.lower(),
        "memory": _number("memory", spec.memory_mib, MAX_MEMORY_MIB),
        "maxmem": _number("maxmem", spec.memory_mib, MAX_MEMORY_MIB),
        "vcpus": _number("vcpus", spec.vcpus, MAX_VCPUS),
        "kernel": kernel_path,
    }
    for key, text in (("ramdisk", ramdisk_path), ("root", spec.image.root), ("extra", spec.image.extra)):
        if text:
            keys[key] = text
    keys["disk"] = _disks(spec, disk_paths, seed_path)
    keys["vif"] = tuple(_vif(nic) for nic in spec.nics)
    if hidden := cpuid_lines(read_features(spec.cpu_hidden)):
        keys["cpuid"] = hidden
    # A crashed guest is not restarted without the portal's knowledge; its console log is kept.
    keys.update(on_poweroff="destroy", on_reboot="restart", on_crash="destroy")
    return keys


def write(keys: Mapping[str, Value]) -> str:
    """The configuration as text. Raises RefusedValue for a key or value that is not allowed."""
    return "".join(f"{key} = {_written(key, value)}\n" for key, value in keys.items())


def differences(wanted: Mapping[str, Value], found: Mapping[str, Value]) -> list[str]:
    """The differences by key between what was written and what was read back; [] if there are none."""
    return [
        f"{key}: {wanted.get(key)!r} was written, {found.get(key)!r} was read"
        for key in sorted({*wanted, *found})
        if wanted.get(key) != found.get(key)
    ]


def _written(key: str, value: Value) -> str:
    if key in NUMBERS and isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,9}", value, re.ASCII):
        return value
    if key in TEXTS and isinstance(value, str) and TEXTS[key].fullmatch(value) and len(value) <= 2000:
        return f"'{value}'"
    if key in LISTS and isinstance(value, tuple) and all(LISTS[key].fullmatch(item) for item in value):
        return "[ " + ", ".join(f"'{item}'" for item in value) + " ]" if value else "[ ]"
    raise RefusedValue(key, value)


def _domain_name(name: str) -> str:
    if not NAME.fullmatch(name) or name.lower() in RESERVED_NAMES or name.endswith(RESERVED_ENDINGS):
        raise RefusedValue("name", name)
    return name


def _number(key: str, value: int, most: int) -> str:
    if type(value) is not int or not 1 <= value <= most:
        raise RefusedValue(key, value)
    return str(value)


def _disks(spec: MachineSpec, paths: Mapping[str, str], seed_path: str) -> tuple[str, ...]:
    missing = [disk.id for disk in spec.disks if disk.id not in paths]
    if missing or len(paths) != len(spec.disks):
        raise RefusedValue("disk", missing or sorted(paths))
    lines = [_disk(paths[disk.id], disk.vdev, "rw") for disk in spec.disks]
    if seed_path:
        lines.append(_disk(seed_path, "xvdz", "ro"))
    if len({line.split(",")[1] for line in lines}) != len(lines):
        raise RefusedValue("disk", lines)
    return tuple(lines)


def _disk(path: str, vdev: str, access: str) -> str:
    if not PATH.fullmatch(path):
        raise RefusedValue("disk target", path)
    if not VDEV.fullmatch(vdev):
        raise RefusedValue("disk vdev", vdev)
    # Always raw: a format probed from content that a guest can write is a known vulnerability
    # (CVE-2026-24708).
    return f"format=raw,vdev={vdev},access={access},target={path}"


def _vif(nic: NicSpec) -> str:
    if not MAC.fullmatch(nic.mac):
        raise RefusedValue("vif mac", nic.mac)
    if not BRIDGE.fullmatch(nic.bridge):
        raise RefusedValue("vif bridge", nic.bridge)
    if not nic.ipv4:
        return f"mac={nic.mac},bridge={nic.bridge}"
    try:
        address = ipaddress.IPv4Address(nic.ipv4)
    except ValueError:
        raise RefusedValue("vif ip", nic.ipv4) from None
    return f"mac={nic.mac},bridge={nic.bridge},ip={address}"


# --- reading -----------------------------------------------------------------------------------

TOKEN = re.compile(
    r"""(?P<blank>[ \t]+|\#[^\n]*)
      | (?P<end>[\n;])
      | (?P<mark>\+=|[=\[\],()])
      | (?P<text>"(?:[^"\\\n\0]|\\.)*"|'(?:[^'\\\n\0]|\\.)*')
      | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
      | (?P<number>0x[0-9a-f]+|[0-9]+)(?![A-Za-z0-9_])
    """,
    re.VERBOSE,
)
Token = tuple[str, str, int]


def parse(text: str) -> Keys:
    """Parse xl.cfg or xm text as Xen does: the last assignment wins, `+=` appends. Raises BadConfig."""
    keys: Keys = {}
    tokens = _tokens(text)
    while tokens:
        kind, word, line = tokens.pop(0)
        if kind == "end":
            continue
        operator = tokens.pop(0)[1] if tokens else ""
        if kind != "word" or operator not in {"=", "+="}:
            raise BadConfig(f"line {line}: not an assignment near {word[:40]!r}")
        value = _read_value(tokens, line)
        if tokens and tokens.pop(0)[0] != "end":
            raise BadConfig(f"line {line}: more than one value for {word}")
        before = keys.get(word)
        keys[word] = _joined(before, value, line) if operator == "+=" and before is not None else value
    return keys


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    position, line = 0, 1
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise BadConfig(f"line {line}: cannot read {text[position : position + 20]!r}")
        if match.lastgroup and match.lastgroup != "blank":
            found.append((match.lastgroup, match.group(), line))
        line += match.group().count("\n")
        position = match.end()
    return found


def _read_value(tokens: list[Token], line: int) -> Value:
    kind, word, _ = tokens.pop(0) if tokens else ("end", "", line)
    if kind in {"text", "number"}:
        return _plain(kind, word)
    if word != "[":
        raise BadConfig(f"line {line}: a value is missing")
    items: list[str] = []
    while True:
        kind, word = _next_in_list(tokens, line)
        if word == "]" and kind == "mark":
            return tuple(items)
        if kind not in {"text", "number"}:
            raise BadConfig(f"line {line}: a list holds something other than text")
        items.append(_plain(kind, word))
        kind, word = _next_in_list(tokens, line)
        if word == "]" and kind == "mark":
            return tuple(items)
        if word != ",":
            raise BadConfig(f"line {line}: a comma is missing in a list")


def _next_in_list(tokens: list[Token], line: int) -> tuple[str, str]:
    while tokens:
        kind, word, _ = tokens.pop(0)
        if word != "\n":
            return kind, word
    raise BadConfig(f"line {line}: a list is not closed")


def _plain(kind: str, word: str) -> str:
    if kind == "number":
        return word
    # Xen's parser has more escapes, some of them broken; WebXen needs none of them.
    if re.search(r"\\[^\\'\"]", word.replace("\\\\", "")):
        raise BadConfig(f"a backslash cannot be read: {word[:80]}")
    return re.sub(r"\\(.)", r"\1", word[1:-1])


def _joined(before: Value, more: Value, line: int) -> Value:
    if isinstance(before, str) and isinstance(more, str):
        return before + more
    if isinstance(before, tuple) and isinstance(more, tuple):
        return before + more
    raise BadConfig(f"line {line}: += joins a text and a list")


# --- facts -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DiskFact:
    target: str
    vdev: str
    format: str
    is_writable: bool


@dataclass(frozen=True)
class NicFact:
    mac: str
    bridge: str
    ip: str


@dataclass(frozen=True)
class Facts:
    """What a configuration asks for, whatever its age and dialect."""

    name: str
    uuid: str
    type: Literal["PV", "PVH", "HVM"]
    memory_mib: int
    maxmem_mib: int
    vcpus: int
    kernel: str
    ramdisk: str
    cmdline: str
    bootloader: str
    on_reboot: str
    on_crash: str
    disks: tuple[DiskFact, ...]
    nics: tuple[NicFact, ...]


def facts_of(keys: Mapping[str, Value]) -> Facts:
    """The facts in a parsed configuration. Raises BadConfig."""
    memory = _whole(keys, "memory", 0)
    return Facts(
        name=_text(keys, "name"),
        uuid=_text(keys, "uuid").lower(),
        type=_type(keys),
        memory_mib=memory,
        maxmem_mib=_whole(keys, "maxmem", memory),
        vcpus=_whole(keys, "vcpus", 1),
        kernel=_text(keys, "kernel"),
        ramdisk=_text(keys, "ramdisk"),
        cmdline=_cmdline(keys),
        bootloader=_text(keys, "bootloader"),
        on_reboot=_text(keys, "on_reboot") or "restart",
        on_crash=_text(keys, "on_crash") or "destroy",
        disks=tuple(read_disk(line) for line in _list(keys, "disk")),
        nics=tuple(_read_vif(line) for line in _list(keys, "vif")),
    )


def read_disk(line: str) -> DiskFact:
    """Parse a disk: `format=raw,vdev=xvda,…`, `/x,raw,xvda,rw`, `phy:/dev/x,xvda,w`, `file:/x,hda1,w`."""
    known: dict[str, str] = {}
    # target= takes the rest of the line including commas, as in Xen's own parser
    head, has_target, rest = re.sub(r"\s*,\s*", ",", line.strip()).partition("target=")
    if has_target:
        known["target"] = rest
    places = ["target", "format", "vdev", "access"]
    for word in head.rstrip(",").split(",") if head else []:
        key, is_pair, value = word.partition("=")
        prefix = re.match(r"(phy|file|tap2?:aio|tap2?|aio|qdisk|raw|qcow2?|vhd):", word)
        if is_pair and key in {"format", "vdev", "access", "devtype", "backendtype", "script"}:
            known[key] = value
        elif prefix and "target" not in known:
            known.update(target=word[prefix.end() :], format="raw")
        elif place := next((name for name in places if name not in known), ""):
            known[place] = word
        else:
            raise BadConfig(f"a disk has too many parts: {line[:120]!r}")
    access = known.get("access", "rw") or "rw"
    if not known.get("vdev") or access not in {"r", "ro", "w", "rw"}:
        raise BadConfig(f"a disk cannot be read: {line[:120]!r}")
    vdev = known["vdev"].partition(":")[0]
    return DiskFact(known.get("target", ""), vdev, known.get("format") or "raw", access in {"w", "rw"})


def _read_vif(line: str) -> NicFact:
    pairs = dict(word.strip().partition("=")[::2] for word in line.split(",") if word.strip())
    return NicFact(pairs.get("mac", "").lower(), pairs.get("bridge", "xenbr0"), pairs.get("ip", ""))


def _type(keys: Mapping[str, Value]) -> Literal["PV", "PVH", "HVM"]:
    word = (_text(keys, "type") or {"hvm": "hvm"}.get(_text(keys, "builder"), "pv")).lower()
    if word == "pvh":
        return "PVH"
    if word in {"pv", "hvm"}:
        return "HVM" if word == "hvm" else "PV"
    raise BadConfig(f"type {word[:40]!r} is unknown")


def _cmdline(keys: Mapping[str, Value]) -> str:
    if cmdline := _text(keys, "cmdline"):
        return cmdline
    root, extra = _text(keys, "root"), _text(keys, "extra")
    return " ".join(part for part in (f"root={root}" if root else "", extra) if part)


def _text(keys: Mapping[str, Value], key: str) -> str:
    value = keys.get(key, "")
    if not isinstance(value, str):
        raise BadConfig(f"{key} is a list, not a text")
    return value


def _whole(keys: Mapping[str, Value], key: str, default: int) -> int:
    word = _text(keys, key) or str(default)
    try:
        return int(word, 0)
    except ValueError:
        raise BadConfig(f"{key} is not a number: {word[:40]!r}") from None


def _list(keys: Mapping[str, Value], key: str) -> tuple[str, ...]:
    value = keys.get(key, ())
    return value if isinstance(value, tuple) else ((value,) if value else ())
