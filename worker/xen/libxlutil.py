"""Xen's own xl.cfg parser (libxlutil), called through ctypes: what xl will read in a configuration.

The library is part of Debian's libxenmisc and needs no hypervisor.
"""

import ctypes
import functools
from pathlib import Path

from worker.xen.config import BadConfig, Keys, Value

LIBRARY_PATTERNS = (
    "/usr/lib/*-linux-gnu*/libxlutil.so.4.*",
    "/usr/lib64/libxlutil.so.4.*",
    "/usr/lib/libxlutil.so.4.*",
    "/usr/lib/xen-*/lib/libxlutil.so.4.*",
)
#: enum XLU_ConfigValueType
STRING, LIST = 0, 1


class _Setting(ctypes.Structure):
    # tools/libs/util/libxlu_internal.h: XLU_ConfigSetting; `op` and `lineno` follow and are not read
    pass


_Setting._fields_ = [
    ("next", ctypes.POINTER(_Setting)),
    ("name", ctypes.c_char_p),
    ("value", ctypes.c_void_p),
]


class _Config(ctypes.Structure):
    # the same header: XLU_Config
    _fields_ = [
        ("settings", ctypes.POINTER(_Setting)),
        ("report", ctypes.c_void_p),
        ("config_source", ctypes.c_char_p),
    ]


@functools.cache
def library_path() -> str:
    """The path of the newest libxlutil; "" if this host has none."""
    found = [path for pattern in LIBRARY_PATTERNS for path in Path("/").glob(pattern.lstrip("/"))]
    newest = sorted(found, key=lambda path: [int(part) for part in path.name.split(".so.")[1].split(".")])
    return str(newest[-1]) if newest else ""


def read(path: Path) -> Keys | None:
    """Parse a file as xl does. Returns None without the library.

    Raises BadConfig with the parser's message.
    """
    return parse(path.read_bytes(), source=str(path))


def parse(text: bytes, *, source: str = "xl.cfg") -> Keys | None:
    """Parse text as xl does. Returns None without the library. Raises BadConfig with the parser's message."""
    if not library_path():
        return None
    # A NUL byte makes Xen's parser call abort(), which would end the worker.
    if b"\0" in text:
        raise BadConfig("the configuration holds a NUL byte")
    library, libc = _library(), _libc()
    report = ctypes.c_void_p()
    size = ctypes.c_size_t()
    stream = libc.open_memstream(ctypes.byref(report), ctypes.byref(size))
    config = library.xlu_cfg_init(stream, source.encode())
    try:
        rc = library.xlu_cfg_readdata(config, text, len(text))
        libc.fflush(stream)
        words = ctypes.string_at(report.value, size.value).decode("utf-8", "replace") if report.value else ""
        if rc != 0:
            raise BadConfig(words.strip() or f"the configuration cannot be read (error {rc})")
        return _walk(library, config)
    finally:
        library.xlu_cfg_destroy(config)
        libc.fclose(stream)
        libc.free(report)


def _walk(library: ctypes.CDLL, config: int) -> Keys:
    keys: Keys = {}
    node = ctypes.cast(config, ctypes.POINTER(_Config)).contents.settings
    while node:
        setting = node.contents
        name = (setting.name or b"").decode("utf-8", "replace")
        # The list is newest first: the first setting of a name is the assignment in effect.
        if name not in keys:
            keys[name] = _value(library, setting.value)
        node = setting.next
    return dict(reversed(keys.items()))


def _value(library: ctypes.CDLL, value: int) -> Value:
    if library.xlu_cfg_value_type(value) == STRING:
        return _string(library, value)
    items: list[str] = []
    while item := library.xlu_cfg_get_listitem2(_as_list(library, value), len(items)):
        if library.xlu_cfg_value_type(item) != STRING:
            raise BadConfig("a list within a list")
        items.append(_string(library, item))
    return tuple(items)


def _string(library: ctypes.CDLL, value: int) -> str:
    text = ctypes.c_char_p()
    library.xlu_cfg_value_get_string(None, value, ctypes.byref(text), 1)
    return (text.value or b"").decode("utf-8", "replace")


def _as_list(library: ctypes.CDLL, value: int) -> ctypes.c_void_p:
    found = ctypes.c_void_p()
    library.xlu_cfg_value_get_list(None, value, ctypes.byref(found), 1)
    return found


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(library_path())
    pointer = ctypes.c_void_p
    library.xlu_cfg_init.restype = pointer
    library.xlu_cfg_init.argtypes = [pointer, ctypes.c_char_p]
    library.xlu_cfg_readdata.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int]
    library.xlu_cfg_destroy.argtypes = [pointer]
    library.xlu_cfg_destroy.restype = None
    library.xlu_cfg_value_type.argtypes = [pointer]
    library.xlu_cfg_value_get_string.argtypes = [pointer, pointer, pointer, ctypes.c_int]
    library.xlu_cfg_value_get_list.argtypes = [pointer, pointer, pointer, ctypes.c_int]
    library.xlu_cfg_get_listitem2.argtypes = [pointer, ctypes.c_int]
    library.xlu_cfg_get_listitem2.restype = pointer
    return library


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.open_memstream.restype = ctypes.c_void_p
    libc.open_memstream.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    for name in ("fflush", "fclose", "free"):
        getattr(libc, name).argtypes = [ctypes.c_void_p]
    return libc
