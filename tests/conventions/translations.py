"""Rules about translations: messages in code and templates, compared with a catalogue (.po).

Pure functions over text; test_translations.py runs them.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.utils.translation.template import templatize

from tests.conventions.tree import Source

#: function → positions of the message and of its context
CALLS = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop"), (0, None)),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (0, None)),
    **dict.fromkeys(("pgettext", "pgettext_lazy", "npgettext", "npgettext_lazy"), (1, 0)),
}
#: the calls that `templatize` produces from a template
CALL = re.compile(r"\b(_|n?p?gettext)\(\s*(u?(?:'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\")(?:,\s*u?'[^']*')?)")


@dataclass
class Entry:
    """One message of a catalogue."""

    context: str = ""
    msgid: str = ""
    plural: str = ""
    strings: dict[int, str] = field(default_factory=dict)
    is_fuzzy: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.context, self.msgid

    def is_whole(self, forms: int) -> bool:
        wanted = range(forms) if self.plural else range(1)
        return not self.is_fuzzy and all(self.strings.get(place) for place in wanted)


def read_catalogue(text: str) -> list[Entry]:
    """Return every entry of a .po file, including its header (an empty msgid)."""
    entries, place = [], ("", 0)
    for block in re.split(r"\n\s*\n", text):
        entry = Entry()
        for line in block.splitlines():
            if line.startswith("#"):
                entry.is_fuzzy |= line.startswith("#,") and "fuzzy" in line
                continue
            word, _space, rest = line.partition(" ") if not line.startswith('"') else ("", "", line)
            if word:
                number = re.search(r"\[(\d+)\]", word)
                place = (word.partition("[")[0], int(number[1]) if number else 0)
            _add(entry, *place, ast.literal_eval(rest))
        if entry.strings:
            entries.append(entry)
    return entries


def _add(entry: Entry, word: str, number: int, text: str) -> None:
    if word == "msgstr":
        entry.strings[number] = entry.strings.get(number, "") + text
        return
    name = {"msgctxt": "context", "msgid": "msgid", "msgid_plural": "plural"}[word]
    setattr(entry, name, getattr(entry, name) + text)


def messages_of_code(source: Source) -> Iterator[tuple[str, str]]:
    """Return (context, message) of every call that translates."""
    for node in source.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            message, context = CALLS[node.func.id]
            texts = [arg.value if isinstance(arg, ast.Constant) else None for arg in node.args]
            said = texts[message] if len(texts) > message else None
            if isinstance(said, str):
                yield ("" if context is None else str(texts[context])), said


def messages_of_template(text: str) -> Iterator[tuple[str, str]]:
    for call in CALL.finditer(templatize(text)):
        texts = ast.literal_eval(f"({call[2]},)")
        message, context = CALLS[call[1]]
        yield ("" if context is None else texts[context]), texts[message]


# --- messages of the domain -----------------------------------------------------------------------

#: packages with messages for users, and their modules that write only to an administrator's terminal
ROOMS = (
    "core",
    "accounts",
    "inventory",
    "quotas",
    "machines",
    "jobs",
    "migration",
    "fleet",
    "enrolment",
    "approvals",
    "diagnostics",
    "recovery",
    "console",
)
TERMINAL = re.compile(r"/(migrations|management)/|/burnin\w*\.py$|^webxen/core/messages/texts/")


def sentences_of(source: Source) -> Iterator[tuple[int, str]]:
    """Return every text of a module that reads as a sentence; `\\0` stands for each inserted part."""
    left_out = {id(node) for node in _unsaid(source)}
    for node in source.nodes:
        if id(node) in left_out:
            continue
        text = _text(node)
        if text and " " in text and re.search(r"[\w\0)”]\.$", text):
            yield getattr(node, "lineno", 0), text


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _unsaid(source: Source) -> Iterator[ast.AST]:
    """Docstrings, log messages, and the pieces of an f-string, which is examined as a whole."""
    for node in source.nodes:
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            yield body[0].value
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log."):
            yield from ast.walk(node)
        if isinstance(node, ast.JoinedStr):
            yield from node.values
