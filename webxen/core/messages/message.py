"""Message: a code with its parameters. As text it is its English sentence, for scripts and logs.

As rest_framework's ErrorDetail it is a str, so that whatever carries a sentence carries the code with it.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

from webxen.core.messages.texts import TEXTS, WORDS
from webxen.core.texts import clean, clean_line
from worker.contract.wording import English, as_plain, names_of

ENGLISH = English(TEXTS, WORDS)
CODE = re.compile(r"[A-Z][A-Z0-9_]{1,59}")
#: of what a host sends: a parameter's text, its entries, how many of them, and the whole of a sentence
MAX_TEXT, MAX_ENTRIES, MAX_PARAMS, MAX_SENTENCE = 500, 32, 16, 2000
MAX_NUMBER = 2**53


class Message(str):  # noqa: SLOT000 - it carries its code and parameters
    """One thing to say. `params` are plain JSON: text, numbers, lists, and messages as {code, params}."""

    code: str
    params: dict[str, Any]
    #: the last words of a program, in its own language; a line of their own
    details: str
    #: the English sentence, where it is not the catalogue's: a host's own, or a library's
    quoted: str

    def __new__(cls, code: str, /, **params: Any) -> Self:
        return cls._make(code, {name: as_plain(value) for name, value in params.items()})

    @classmethod
    def _make(cls, code: str, params: dict[str, Any], *, text: str = "", details: str = "") -> Self:
        said = text if text or not code else ENGLISH.say(code, params)
        message = super().__new__(cls, f"{said}\n{details}" if details else said)
        message.code, message.params, message.details, message.quoted = code, params, details, text
        return message

    @classmethod
    def plain(cls, text: str) -> Self:
        """A sentence without a code, as earlier versions kept it."""
        return cls._make("", {}, text=text)

    @classmethod
    def foreign(cls, code: str, text: str) -> Self:
        """A sentence of a library, under the library's own code."""
        return cls._make(code, {}, text=text) if CODE.fullmatch(code) else cls.plain(text)

    @classmethod
    def load(cls, kept: str) -> Self:
        """Read what `dump` has written; any other text is a sentence kept by an earlier version."""
        try:
            values = json.loads(kept) if kept.startswith("{") else None
        except ValueError:
            values = None
        if not isinstance(values, dict) or not isinstance(values.get("code"), str):
            return cls.plain(kept)
        return cls.of_json(values)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Self:
        """What `as_json` has given."""
        if not values.get("code"):
            return cls.plain(str(values.get("text", "")))
        params = values.get("params")
        return cls._make(
            str(values["code"]),
            params if isinstance(params, dict) else {},
            text=str(values.get("text", "")),
            details=str(values.get("details", "")),
        )

    def dump(self) -> str:
        """As it is kept: JSON; a sentence without a code as itself."""
        return json.dumps(self.as_json(), ensure_ascii=False) if self.code else str(self)

    def as_json(self) -> dict[str, Any]:
        """{code, params}, and details; with its text where that is not the catalogue's."""
        if not self.code:
            return {"text": str(self)}
        told: dict[str, Any] = {"code": self.code, "params": self.params}
        if self.details:
            told["details"] = self.details
        return told | {"text": self.quoted} if self.quoted else told

    @classmethod
    def of_host(cls, *, kind: str, reason: str, params: object, text: str, details: str = "") -> Self:
        """What a host says of itself; of parameters of another shape than the text's none is kept.

        `text`: the host's own English, shown where this portal does not know the reason. A worker that does
        not send reasons yet is quoted; in other languages below what its kind of error means.
        """
        said, words = clean(text, MAX_SENTENCE), clean(details, MAX_SENTENCE)
        if not CODE.fullmatch(reason):
            is_known = kind in TEXTS and not names_of(TEXTS[kind])
            return cls._make(kind, {}, text=said) if is_known and said else cls.plain(said)
        known, read = TEXTS.get(reason), read_params(params)
        if read is None or (known is not None and names_of(known) != read.keys()):
            return cls._make(reason, {})
        return cls._make(reason, read, text="" if known else said, details=words if known else "")

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Message.load, (self.dump(),)


def read_params(untrusted: object) -> dict[str, Any] | None:
    """A host's parameters: text, numbers or lists of text by name; None where they are anything else."""
    if not isinstance(untrusted, dict) or len(untrusted) > MAX_PARAMS:
        return None
    read = {}
    for name, value in untrusted.items():
        told = _read_value(value)
        if told is None or not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
            return None
        read[name] = told
    return read


def _read_value(untrusted: object) -> str | float | list[str] | None:
    if isinstance(untrusted, str):
        return clean_line(untrusted, MAX_TEXT)
    if isinstance(untrusted, int | float) and not isinstance(untrusted, bool):
        is_fit = math.isfinite(untrusted) and abs(untrusted) <= MAX_NUMBER
        return untrusted if is_fit else None
    if isinstance(untrusted, list) and len(untrusted) <= MAX_ENTRIES:
        return [clean_line(one, MAX_TEXT) for one in untrusted if isinstance(one, str)]
    return None


# --- of several ------------------------------------------------------------------------------------


def tell_all(messages: Iterable[str]) -> Message:
    """Several messages as one; empty where there is none."""
    found = [as_message(message) for message in messages if message]
    if len(found) < 2:
        return found[0] if found else Message.plain("")
    return Message("ALL_OF", whys=found)


def each_of(told: str) -> list[Message]:
    """The several messages that `tell_all` has put together; any other is one."""
    message = as_message(told)
    if message.code != "ALL_OF":
        return [message] if message else []
    return [Message.of_json(one) for one in message.params["whys"]]


def tell_of(name: str, why: str) -> Message:
    """“xen2: why”."""
    return Message("OF_ONE", name=name, why=as_message(why))


def name_of_each(whys: Mapping[str, str]) -> list[Message]:
    """The same of each."""
    return [tell_of(name, why) for name, why in whys.items()]


def as_message(text: str) -> Message:
    """Text without a code is English that only a terminal shows, or was kept by an earlier version."""
    return text if isinstance(text, Message) else Message.plain(text)
