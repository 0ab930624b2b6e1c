"""Russian pages hold no English: each message is translated, each sentence of the domain is known."""

import gettext
from functools import cache
from pathlib import Path

from tests.conventions import translations
from tests.conventions.tree import ROOT, Source, read_names, read_python

CATALOGUES = sorted((ROOT / "webxen/locale").glob("*/LC_MESSAGES/django.po"))
PRODUCT = [source for source in read_python() if source.is_in("webxen/", "worker/contract/")]


@cache
def said_by_code_and_templates() -> set[tuple[str, str]]:
    found = {key for source in PRODUCT for key in translations.messages_of_code(source)}
    for name in read_names():
        if name.startswith("webxen/") and name.endswith(".html"):
            found |= set(translations.messages_of_template((ROOT / name).read_text()))
    return found


class TestEveryCatalogue:
    def test_has_every_message(self) -> None:
        said = said_by_code_and_templates()
        for path in CATALOGUES:
            known = {entry.key for entry in translations.read_catalogue(path.read_text())}
            assert not sorted(said - known), f"{path.parent.parent.name} lacks these"

    def test_has_nothing_that_nobody_says(self) -> None:
        said = said_by_code_and_templates()
        for path in CATALOGUES:
            known = {entry.key for entry in translations.read_catalogue(path.read_text()) if entry.msgid}
            assert not sorted(known - said), f"{path.parent.parent.name} has these left over"

    def test_leaves_nothing_empty_or_fuzzy(self) -> None:
        for path in CATALOGUES:
            entries = translations.read_catalogue(path.read_text())
            forms = _forms(entries[0].strings[0])
            assert not [entry.msgid for entry in entries if not entry.is_whole(forms)]

    def test_is_compiled_as_it_stands(self) -> None:
        for path in CATALOGUES:
            with path.with_suffix(".mo").open("rb") as file:
                compiled = gettext.GNUTranslations(file)
            for entry in translations.read_catalogue(path.read_text()):
                if entry.plural:
                    assert compiled.ngettext(entry.msgid, entry.plural, 1) == entry.strings[0]
                elif entry.context:
                    assert compiled.pgettext(entry.context, entry.msgid) == entry.strings[0]
                elif entry.msgid:
                    assert compiled.gettext(entry.msgid) == entry.strings[0]

    def test_is_read_as_gettext_reads_it(self) -> None:
        text = (
            'msgid ""\nmsgstr "Plural-Forms: nplurals=2; plural=n;\\n"\n\n'
            '#, fuzzy\nmsgctxt "a"\nmsgid "b "\n"c"\n'
            'msgid_plural "d"\nmsgstr[0] "e"\nmsgstr[1] ""\n'
        )
        head, entry = translations.read_catalogue(text)
        assert _forms(head.strings[0]) == 2
        assert (entry.key, entry.strings, entry.is_fuzzy) == (("a", "b c"), {0: "e", 1: ""}, True)
        assert not entry.is_whole(1)

    def test_sees_what_is_said(self) -> None:
        code = Source("webxen/a.py", 'x = _("one")\ny = pgettext_lazy("job", "two")\nz = print("three")')
        assert set(translations.messages_of_code(code)) == {("", "one"), ("job", "two")}
        page = "{% translate 'four' %}"
        page += "{% blocktranslate count n=2 %}{{ n }} five{% plural %}six{% endblocktranslate %}"
        assert set(translations.messages_of_template("{% load i18n %}" + page)) == {
            ("", "four"),
            ("", "%(n)s five"),
        }


class TestSentencesOfTheDomain:
    def test_stand_in_the_catalogue_alone(self) -> None:
        elsewhere = [
            f"{source.path}:{line}: {text!r}"
            for source in PRODUCT
            if source.is_in(*(f"webxen/{room}/" for room in translations.ROOMS))
            and not translations.TERMINAL.search(source.path)
            for line, text in translations.sentences_of(source)
        ]
        assert not elsewhere, "give each a code in webxen/core/messages/texts and raise Message(CODE, …)"

    def test_are_seen(self) -> None:
        text = '"""No sentence."""\ndef f(x):\n    """Nor this."""\n'
        text += '    log.warning("Nor that.")\n    g(f"{x} is {x}.")\n'
        assert list(translations.sentences_of(Source("webxen/jobs/a.py", text))) == [(5, "\0 is \0.")]


def _forms(head: str) -> int:
    return int(head.partition("nplurals=")[2].partition(";")[0])


def test_there_is_a_catalogue() -> None:
    assert Path("ru") in [path.parent.parent.relative_to(ROOT / "webxen/locale") for path in CATALOGUES]
