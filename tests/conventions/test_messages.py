"""The catalogue of messages: every code that is used has a text in English and in every other language."""

import ast
import gettext
from collections.abc import Iterator
from pathlib import Path

from tests.conventions.tree import ROOT, Source, read_python
from webxen.core.messages.texts import OF_HOSTS, SUBJECTS, TEXTS, WORDS
from worker import contract, errors
from worker.contract.wording import Plural, names_of

CATALOGUES = sorted((ROOT / "webxen/locale").glob("*/LC_MESSAGES/django.mo"))
PRODUCT = [
    source
    for source in read_python()
    if source.is_in("webxen/", "worker/")
    and not source.is_in("webxen/core/messages/texts/", "worker/contract/texts/")
]
KINDS = {
    one.__name__: one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)
}


def named_calls(source: Source) -> Iterator[tuple[int, str, set[str] | None]]:
    """(line, code, names of parameters; None: not known here) of every message that is made."""
    ours = {name for _, full, name in source.imports if full.startswith("worker.errors.")}
    for node in source.nodes:
        if not isinstance(node, ast.Call) or not node.args:
            continue
        where, _, name = ast.unparse(node.func).rpartition(".")
        first = node.args[0]
        is_made = name == "Message" or (name in KINDS and (where == "errors" or name in ours))
        if is_made and isinstance(first, ast.Constant) and isinstance(first.value, str):
            known = all(word.arg for word in node.keywords)
            names = {str(word.arg) for word in node.keywords} - {"details"}
            yield node.lineno, first.value, names if known else None


def languages() -> Iterator[tuple[str, gettext.GNUTranslations]]:
    for path in CATALOGUES:
        with path.open("rb") as file:
            yield path.parent.parent.name, gettext.GNUTranslations(file)


class TestEveryCode:
    def test_that_is_used_has_a_text_with_its_parameters(self) -> None:
        wrong = []
        for source in PRODUCT:
            for line, code, names in named_calls(source):
                if code not in TEXTS:
                    wrong.append(f"{source.path}:{line}: {code} has no English text")
                elif names is not None and names != names_of(TEXTS[code]):
                    wrong.append(f"{source.path}:{line}: {code} takes {sorted(names_of(TEXTS[code]))}")
        assert not wrong

    def test_has_a_text_in_every_language(self) -> None:
        lacking = [
            f"{code}: no text in {language}"
            for language, catalogue in languages()
            for code, text in TEXTS.items()
            if not _is_translated(catalogue, text)
        ]
        assert not lacking

    def test_is_used(self) -> None:
        used = {
            node.value
            for source in PRODUCT
            for node in source.nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        cures = {code for code in TEXTS if code.startswith("CURE_")}
        assert not sorted(set(TEXTS) - used - cures)

    def test_of_a_job_has_its_word(self) -> None:
        assert set(contract.JOB_KINDS) <= set(WORDS["job"])

    def test_stands_once(self) -> None:
        codes = [code for texts in SUBJECTS.values() for code in texts]
        assert not {code for code in codes if codes.count(code) > 1}

    def test_of_a_host_says_every_kind_of_failure(self) -> None:
        assert {one.code for one in KINDS.values() if issubclass(one, errors.WorkerError)} <= set(OF_HOSTS)


def _is_translated(catalogue: gettext.GNUTranslations, text: str | Plural) -> bool:
    """Has it a translation with the same parameters?"""
    if isinstance(text, Plural):
        said = {catalogue.ngettext(text.one, text.many, number) for number in (1, 2, 5)}
        return text.one not in said and all(names_of(one) <= names_of(text) for one in said)
    said_so = catalogue.gettext(text)
    has_words = any(sign.isalpha() for sign in _bare(text))
    return names_of(said_so) == names_of(text) and (said_so != text or not has_words)


def _bare(text: str) -> str:
    """The text without its parameters: “%(name)s: %(why)s” has no word to translate."""
    for name in names_of(text):
        text = text.replace(f"%({name})s", "")
    return text


def test_there_is_a_catalogue() -> None:
    assert Path("ru") in [path.parent.parent.relative_to(ROOT / "webxen/locale") for path in CATALOGUES]
