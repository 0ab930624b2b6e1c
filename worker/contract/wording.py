"""Sentences from codes and parameters, in English. A portal translates the same texts into other languages.

A text holds its parameters as `%(name)s`. A parameter's name says what it is: `…_mib` and `…_gib` are sizes,
`…_seconds` a time span, `…_at` a moment (ISO 8601); a list is joined, a message within a message is said too.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PART = re.compile(r"%\((\w+)\)s")
MIB_IN_GIB = 1024
MINUTE, HOUR = 60, 3600
#: the parameter that decides between one and many
COUNT = "n"

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Plural:
    """A text for one and a text for many; the parameter `n` decides."""

    one: str
    many: str


Text = str | Plural
#: (context for translators, text)
Word = tuple[str, str]


def names_of(text: Text) -> frozenset[str]:
    """The parameters a text needs."""
    texts = (text.one, text.many) if isinstance(text, Plural) else (text,)
    found = {name for one in texts for name in PART.findall(one)}
    return frozenset(found | ({COUNT} if isinstance(text, Plural) else set()))


@dataclass(frozen=True)
class English:
    """How messages read in English. Subclasses override how texts, words and figures are translated."""

    texts: Mapping[str, Text]
    #: parameter → stored code → word
    words: Mapping[str, Mapping[str, Word]]

    def say(self, code: str, params: Params) -> str:
        """The sentence. A code that is not known, or lacks a parameter, is shown as it is; never raises."""
        text = self.texts.get(code)
        if text is None or not names_of(text) <= params.keys():
            return bare(code, params)
        places = self._places(params)
        said = {name: self._part(name, value, places) for name, value in params.items()}
        return PART.sub(lambda hit: said[hit[1]], self._choose(text, params))

    # --- what a language does its own way

    def _choose(self, text: Text, params: Params) -> str:
        if isinstance(text, Plural):
            return text.one if params.get(COUNT) == 1 else text.many
        return text

    def _word(self, word: Word) -> str:
        return word[1]

    def _number(self, number: float, places: int = 0) -> str:
        return f"{number:.{places}f}"

    def _unit(self, number: str, unit: str) -> str:
        """`unit`: MiB, GiB, s, min or h."""
        return f"{number} {unit}"

    def _moment(self, moment: datetime) -> str:
        return f"{moment:%Y-%m-%d %H:%M} UTC"

    # --- what all share

    def _part(self, name: str, value: Any, places: int) -> str:
        if isinstance(value, list | tuple):
            return self._join([self._part(name, one, places) for one in value])
        if isinstance(value, Mapping):
            return self._nested(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._figure(name, value, places)
        if words := self.words.get(name):
            return self._word(words[value]) if value in words else str(value).lower()
        return self._time(value) if name.endswith("_at") else str(value)

    def _nested(self, value: Params) -> str:
        code, params, text = str(value.get("code", "")), value.get("params"), str(value.get("text", ""))
        said = self._quote(code, params if isinstance(params, Mapping) else {}, text)
        return f"{said} {value['details']}" if value.get("details") else said

    def _quote(self, code: str, params: Params, text: str) -> str:
        """A message that brings its own English sentence, or a sentence without a code."""
        return text or self.say(code, params) if code else text

    def _figure(self, name: str, number: float, places: int) -> str:
        if name.endswith("_mib"):
            return self._size(number, places)
        if name.endswith("_gib"):
            return self._unit(self._number(number), "GiB")
        if name.endswith("_seconds"):
            return self._span(number)
        return self._number(number, 0 if number == int(number) else 1)

    def _size(self, mib: float, places: int) -> str:
        """Up to `places` digits after the point; places below 0: whole MiB."""
        if abs(mib) < MIB_IN_GIB or places < 0:
            return self._unit(self._number(mib), "MiB")
        gib = round(mib / MIB_IN_GIB, places)
        needed = next(count for count in range(places + 1) if round(gib, count) == gib)
        return self._unit(self._number(gib, needed), "GiB")

    def _places(self, params: Params) -> int:
        """Two sizes in one sentence that differ never read the same."""
        sizes = {value for name, value in params.items() if name.endswith("_mib") and _is_number(value)}
        return next(
            (places for places in (2, 3) if len({self._size(one, places) for one in sizes}) == len(sizes)), -1
        )

    def _span(self, seconds: float) -> str:
        if seconds < MINUTE or (seconds < 2 * MINUTE and seconds % MINUTE):
            return self._unit(self._number(seconds), "s")
        if seconds < 2 * HOUR:
            return self._unit(self._number(round(seconds / MINUTE)), "min")
        return self._unit(self._number(round(seconds / HOUR)), "h")

    def _time(self, text: Any) -> str:
        try:
            return self._moment(datetime.fromisoformat(str(text)))
        except ValueError:
            return str(text)

    def _join(self, parts: list[str]) -> str:
        """Sentences follow one another; anything else is listed."""
        if len(parts) > 1 and all(part.endswith(".") for part in parts[:-1]):
            return " ".join(parts)
        return ("; " if any(" " in part for part in parts) else ", ").join(parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def bare(code: str, params: Params) -> str:
    """A message without a text: “CODE (name=web1, port=22)”."""
    told = ", ".join(f"{name}={value}" for name, value in params.items())
    return f"{code} ({told})" if told else code


def as_plain(value: Any) -> Any:
    """A parameter as JSON: numbers stay, lists and mappings are copied, anything else is text."""
    if callable(as_json := getattr(value, "as_json", None)):
        return as_json()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {str(name): as_plain(one) for name, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [as_plain(one) for one in value]
    return str(value)


def mark(text: str) -> str:
    """Mark a text for translators; it stays as it is."""
    return text
