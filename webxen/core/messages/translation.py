"""A message in the reader's language: the texts through gettext, figures as they are written there."""

from datetime import datetime

from django.utils import formats, timezone
from django.utils.translation import get_language, gettext, ngettext, pgettext

from webxen.core.messages.message import Message
from webxen.core.messages.texts import TEXTS, WORDS
from worker.contract.wording import COUNT, English, Params, Plural, Text, Word


class Translated(English):
    """As English, in the active language."""

    def _choose(self, text: Text, params: Params) -> str:
        if isinstance(text, Plural):
            number = params.get(COUNT)
            return ngettext(text.one, text.many, number if isinstance(number, int) else 2)
        return gettext(text) if text else ""

    def _word(self, word: Word) -> str:
        return pgettext(*word)

    def _quote(self, code: str, params: Params, text: str) -> str:
        return " ".join(filter(None, (self.say(code, params), text))) if code in self.texts else text or code

    def _number(self, number: float, places: int = 0) -> str:
        return formats.number_format(number, decimal_pos=places)

    def _unit(self, number: str, unit: str) -> str:
        return UNITS[unit]() % {"n": number}

    def _moment(self, moment: datetime) -> str:
        if moment.tzinfo is None:
            return f"{moment:%Y-%m-%d %H:%M} UTC"
        return f"{moment.astimezone(timezone.get_current_timezone()):%Y-%m-%d %H:%M %Z}"


UNITS = {
    "MiB": lambda: gettext("%(n)s MiB"),
    "GiB": lambda: gettext("%(n)s GiB"),
    "s": lambda: gettext("%(n)s s"),
    "min": lambda: gettext("%(n)s min"),
    "h": lambda: gettext("%(n)s h"),
}
TRANSLATED = Translated(TEXTS, WORDS)


def as_sentence(text: object) -> str:
    """The same as a sentence of its own: “2 vCPUs over quota” begins and ends like one."""
    told = translate(text)
    return told if told.endswith((".", "?")) else f"{told[:1].upper()}{told[1:]}."


def translate(text: object) -> str:
    """In the reader's language. Text without a code stays as it is."""
    is_english = (get_language() or "en").startswith("en")
    if isinstance(text, Message) and text.code in TEXTS and not is_english:
        said = TRANSLATED.say(text.code, text.params)
        return "\n".join(filter(None, (said, text.quoted, text.details)))
    return str(text)
