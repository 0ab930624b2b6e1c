"""Marks for translators: they return what they get. gettext finds them by their names."""

from worker.contract.wording import Plural, Word
from worker.contract.wording import mark as gettext_noop

__all__ = ["gettext_noop", "ngettext", "pgettext"]


def ngettext(one: str, many: str) -> Plural:
    """A text for one and for many; the parameter `n` decides."""
    return Plural(one, many)


def pgettext(context: str, text: str) -> Word:
    """A word that is translated differently in different places."""
    return context, text
