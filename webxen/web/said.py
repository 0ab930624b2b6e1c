"""Translate a domain message: find it among `sentences` and insert its parts.

The domain and the hosts produce English, which is stored and returned by the API. Pages translate when they
display it; an unknown text is shown unchanged.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from django.utils import formats
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext, pgettext, pgettext_lazy

from webxen.web import sizes
from webxen.web.sentences import SENTENCES

#: names of open jobs within sentences
JOBS: dict[str, str | Promise] = {
    "create": pgettext_lazy("open job", "create"),
    "start": pgettext_lazy("open job", "start"),
    "shutdown": pgettext_lazy("open job", "shutdown"),
    "poweroff": pgettext_lazy("open job", "poweroff"),
    "reboot": pgettext_lazy("open job", "reboot"),
    "delete": pgettext_lazy("open job", "delete"),
    "migrate": pgettext_lazy("open job", "migrate"),
}
#: states of machines and requests: “is …”
STATES: dict[str, str | Promise] = {
    "pending": pgettext_lazy("it is", "pending"),
    "building": pgettext_lazy("it is", "building"),
    "ready": pgettext_lazy("it is", "ready"),
    "failed": pgettext_lazy("it is", "failed"),
    "deleting": pgettext_lazy("it is", "deleting"),
    "deleted": pgettext_lazy("it is", "deleted"),
    "running": pgettext_lazy("it is", "running"),
    "paused": pgettext_lazy("it is", "paused"),
    "suspended": pgettext_lazy("it is", "suspended"),
    "off": pgettext_lazy("it is", "off"),
    "crashed": pgettext_lazy("it is", "crashed"),
    "unknown": pgettext_lazy("it is", "unknown"),
    "approved": pgettext_lazy("it is", "approved"),
    "rejected": pgettext_lazy("it is", "rejected"),
    "withdrawn": pgettext_lazy("it is", "withdrawn"),
}
#: power of a domain, which in some languages has another gender than a machine
POWERS: dict[str, str | Promise] = {
    "running": pgettext_lazy("domain", "running"),
    "paused": pgettext_lazy("domain", "paused"),
    "suspended": pgettext_lazy("domain", "suspended"),
    "off": pgettext_lazy("domain", "off"),
    "crashed": pgettext_lazy("domain", "crashed"),
    "unknown": pgettext_lazy("domain", "unknown"),
}
#: results of jobs
ENDS: dict[str, str | Promise] = {
    "succeeded": pgettext_lazy("job ended", "succeeded"),
    "failed": pgettext_lazy("job ended", "failed"),
    "cancelled": pgettext_lazy("job ended", "cancelled"),
}
METHODS: dict[str, str | Promise] = {
    "LIVE": pgettext_lazy("move", "while it runs"),
    "SUSPENDED": pgettext_lazy("move", "suspended"),
    "COLD": pgettext_lazy("move", "switched off"),
}
#: objects named by a request
WHATS: dict[str, str | Promise] = {
    "image": pgettext_lazy("name the", "image"),
    "size": pgettext_lazy("name the", "size"),
    "network": pgettext_lazy("name the", "network"),
    "project": pgettext_lazy("name the", "project"),
}
TABLES = {
    "job": JOBS,
    "state": STATES,
    "told": STATES,
    "power": POWERS,
    "end": ENDS,
    "method": METHODS,
    "what": WHATS,
}

WORD, NUMBER, SIZE, MINUTES = r"\S+", r"-?\d[\d.]*", r"\d[\d.]* [MG]iB", r"\d+ minutes?"
#: several words without the end of a sentence
WORDS = r"(?:(?![.:;] ).)+?"
PART = re.compile(r"%\((\w+)\)s")
#: regular expressions of the parts of a pattern; other parts are one word
PARTS = {
    **{name: "|".join(map(re.escape, table)) for name, table in TABLES.items()},
    **dict.fromkeys(("n", "m", "free", "needed", "held", "limit"), NUMBER),
    **dict.fromkeys(("size", "held_size", "limit_size"), SIZE),
    "time": MINUTES,
    "at": r"\d{4}-\d\d-\d\d \d\d:\d\d",
    # used where a pattern is so short that only a host's name may match
    "slug": r"[a-z\d-]+",
    # free text: a project, or a name given on a host
    **dict.fromkeys(("names", "project", "label"), WORDS),
    # several items separated by commas
    **dict.fromkeys(("sums", "held_sums"), ".+"),
    # another message
    **dict.fromkeys(("why", "whys"), ".+"),
}
PREFIXED = re.compile(r"([\w.-]+): (.+)", re.DOTALL)


def _compile(msgid: str) -> re.Pattern[str]:
    pieces = PART.split(msgid)
    return re.compile(
        "".join(
            f"(?P<{piece}>{PARTS.get(piece, WORD)})" if place % 2 else re.escape(piece)
            for place, piece in enumerate(pieces)
        ),
        re.DOTALL,
    )


#: longest fixed text first: “It is on this host already.” before “It is %(state)s.”
PATTERNS = sorted(
    ((msgid, _compile(msgid)) for msgid in SENTENCES), key=lambda one: -len(PART.sub("", one[0]))
)

#: the plan of a migration
PLANNED = _compile("%(source)s to %(target)s, %(method)s")


def said(text: object) -> str:
    """Return the text in the user's language, as far as it is known."""
    return find(str(text))[0]


def said_whole(text: object) -> str:
    """Return the translated text as a complete sentence, with a capital letter and a full stop."""
    told = said(text)
    return told if told.endswith((".", "?")) else f"{told[:1].upper()}{told[1:]}."


def find(text: str) -> tuple[str, bool]:
    """Return the text in the user's language, and whether all of it was known."""
    language = get_language() or "en"
    told, is_known = (_in_english(text), True) if language.startswith("en") else _find(language, text)
    return sizes.shorten(told), is_known


def _in_english(text: str) -> str:
    """Messages are English already; codes inside them are replaced by words."""
    hit = PLANNED.fullmatch(text)
    return text if hit is None else f"{hit['source']} to {hit['target']}, {METHODS[hit['method']]}"


@lru_cache(maxsize=4096)
def _find(language: str, text: str) -> tuple[str, bool]:
    """`language` is the active one; it is a parameter for the cache."""
    if not text.strip():
        return text, True
    for msgid, pattern in PATTERNS:
        if hit := pattern.fullmatch(text):
            return _put_in(language, msgid, hit.groupdict())
    for how in (_find_sentences, _find_list, _find_prefixed):
        if (found := how(language, text)) is not None:
            return found
    return text, False


def _put_in(language: str, msgid: str, parts: dict[str, str]) -> tuple[str, bool]:
    inner = {name: _say_part(language, name, part) for name, part in parts.items()}
    translated = {name: words for name, (words, _) in inner.items()}
    return gettext(msgid) % translated, all(is_known for _, is_known in inner.values())


def _say_part(language: str, name: str, part: str) -> tuple[str, bool]:
    if name in TABLES:
        return str(TABLES[name][part]), True
    if name in ("why", "whys"):
        return _find(language, part)
    if name in ("sums", "held_sums"):
        found = [_find(language, one) for one in part.split(", ")]
        return ", ".join(words for words, _ in found), all(is_known for _, is_known in found)
    if PARTS.get(name) == SIZE:
        return _say_size(part), True
    if name == "time":
        return gettext("%(n)s min") % {"n": part.partition(" ")[0]}, True
    if name == "names":
        part = part.replace(" and ", " {} ".format(pgettext("list", "and")))
    return part, True


def _say_size(size: str) -> str:
    number, unit = size.split(" ")
    words = gettext("%(n)s MiB") if unit == "MiB" else gettext("%(n)s GiB")
    return words % {"n": formats.number_format(float(number)) if "." in number else number}


Finder = Callable[[str, str], tuple[str, bool] | None]


def _find_sentences(language: str, text: str) -> tuple[str, bool] | None:
    """“One. Another.”: translate the longest known beginning, then the rest."""
    ends = [hit.end() for hit in re.finditer(r"\.(?= )", text)]
    for end in reversed(ends):
        first, is_known = _find(language, text[:end])
        if is_known:
            rest, is_rest_known = _find(language, text[end + 1 :])
            return f"{first} {rest}", is_rest_known
    return None


def _find_list(language: str, text: str) -> tuple[str, bool] | None:
    """“one; another.”"""
    bare = text.removesuffix(".")
    parts = bare.split("; ")
    if len(parts) == 1 and bare == text:
        return None
    found = [_find(language, part) for part in parts]
    if not any(is_known for _, is_known in found):
        return None
    told, stop = "; ".join(words for words, _ in found), text[len(bare) :]
    # with a full stop it is a sentence and starts with a capital letter; a host's name stays as it is
    is_sentence = stop and not PREFIXED.match(text)
    return (told[:1].upper() + told[1:] if is_sentence else told) + stop, all(
        is_known for _, is_known in found
    )


def _find_prefixed(language: str, text: str) -> tuple[str, bool] | None:
    """“xen2: why not.”"""
    hit = PREFIXED.fullmatch(text)
    if hit is None:
        return None
    words, is_known = _find(language, hit[2])
    return (f"{hit[1]}: {words}", True) if is_known else None
