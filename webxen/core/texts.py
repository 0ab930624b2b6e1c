"""Clean text from outside so that it can be stored and shown. Pure.

PostgreSQL cannot store NUL or lone surrogates, lone surrogates cannot be encoded, and control characters can
manipulate a terminal that shows the text.
"""

import re

#: control characters except line feed and tab; delete; lone surrogates; characters that change the text
#: direction
UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")
#: characters that must not occur within one line
BREAKS = re.compile(r"[\t\n\u2028\u2029]")


def clean(untrusted: str, limit: int) -> str:
    """Return at most `limit` characters of the text without unfit characters; line breaks are kept."""
    return UNFIT.sub("", untrusted[: 2 * limit])[:limit]


def clean_line(untrusted: str, limit: int) -> str:
    """The same, with line breaks and tabs replaced by spaces."""
    return BREAKS.sub(" ", clean(untrusted, limit))


def is_clean_line(untrusted: str, limit: int) -> bool:
    """Whether the text is not empty, at most `limit` long, a single line and has no unfit characters."""
    return 0 < len(untrusted) <= limit and not UNFIT.search(untrusted) and not BREAKS.search(untrusted)
