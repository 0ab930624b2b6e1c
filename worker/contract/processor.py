"""Processor features as bits: those of a host in `xl info`, and those hidden from a guest.

The portal decides which features are hidden; the host writes them to xl.cfg (`cpuid`) when the machine boots;
the portal reads them back from there.

Features: those of Xen's include/public/arch-x86/cpufeatureset.h, of which physinfo carries the first eight
words.
"""

import re

Features = tuple[int, ...]

WORDS = 8
#: word of hw_caps -> leaf, subleaf ("": none), register
PLACES = (
    ("0x1", "", "edx"),
    ("0x1", "", "ecx"),
    ("0x80000001", "", "edx"),
    ("0x80000001", "", "ecx"),
    ("0xd", "1", "eax"),
    ("0x7", "0", "ebx"),
    ("0x7", "0", "ecx"),
    ("0x80000007", "", "edx"),
)
#: Features that Xen gives a guest whatever the processor has, or that a running kernel sets: the APIC;
#: x2APIC, OSXSAVE and the hypervisor bit; OSPKE.
NEVER_HIDDEN = {0: 1 << 9, 1: 1 << 21 | 1 << 27 | 1 << 31, 6: 1 << 4}
_HW_CAPS = re.compile(r"[0-9a-f]{8}(:[0-9a-f]{8}){7}")
_REGISTER = re.compile(r"(e[abcd]x)=([0x]{32})")
_ITEM = re.compile(r"['\"](0x[0-9a-f]{1,8})(?:,([01]))?:([a-dex0=,]+)['\"]")
_LINE = re.compile(r"^cpuid = \[([^\]\n]*)\]$", re.MULTILINE)


class BadFeatures(Exception):
    """The text does not hold eight words of hexadecimal digits."""


def read_features(text: str) -> Features:
    """Parse words in the format of hw_caps; "" means none. Raises BadFeatures."""
    if not text:
        return (0,) * WORDS
    if not _HW_CAPS.fullmatch(text):
        raise BadFeatures(f"these are not {WORDS} words of hw_caps: {text[:80]!r}")
    return tuple(int(word, 16) & ~NEVER_HIDDEN.get(place, 0) for place, word in enumerate(text.split(":")))


def features_text(words: Features) -> str:
    """The inverse of `read_features`; "" if no bit is set."""
    return ":".join(f"{word:08x}" for word in words) if any(words) else ""


def cpuid_lines(hidden: Features) -> tuple[str, ...]:
    """The items of xl.cfg's `cpuid` that hide these features (xl.cfg(5), "xend syntax"); () for none.

    "0" clears a feature; "x" keeps Xen's default.
    """
    leaves: dict[str, list[str]] = {}
    for (leaf, subleaf, register), word in zip(PLACES, hidden, strict=True):
        if word:
            bits = "".join("0" if word >> bit & 1 else "x" for bit in range(31, -1, -1))
            leaves.setdefault(f"{leaf},{subleaf}" if subleaf else leaf, []).append(f"{register}={bits}")
    return tuple(f"{leaf}:{','.join(registers)}" for leaf, registers in leaves.items())


def hidden_features(config: str) -> Features:
    """The features that a configuration written by WebXen hides; zeros if it has no such line."""
    words = [0] * WORDS
    line = _LINE.search(config)
    for leaf, subleaf, registers in _ITEM.findall(line[1]) if line else ():
        for register, bits in _REGISTER.findall(registers):
            if (place := (leaf, subleaf, register)) in PLACES:
                words[PLACES.index(place)] = int("".join("1" if bit == "0" else "0" for bit in bits), 2)
    return tuple(words)
