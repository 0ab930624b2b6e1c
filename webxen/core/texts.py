"""Text that came from elsewhere, made fit to be kept and shown. Pure.

PostgreSQL keeps no NUL and no lone surrogate, a lone surrogate cannot be sent at all, and control characters
move the cursor of a terminal that shows a page or an answer of the API.
"""

import re

#: control characters but line feed and tab, delete, lone surrogates, and what turns the direction of writing
UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")
#: of one line
BREAKS = re.compile(r"[\t\n\u2028\u2029]")


def clean(untrusted: str, limit: int) -> str:
    """The text without what is unfit, at most `limit` characters of it; lines stay lines."""
    return UNFIT.sub("", untrusted[: 2 * limit])[:limit]


def clean_line(untrusted: str, limit: int) -> str:
    """The same as one line."""
    return BREAKS.sub(" ", clean(untrusted, limit))


def is_clean_line(untrusted: str, limit: int) -> bool:
    """Is this a text of one line that may be kept as it is? Not when it is empty or longer."""
    return 0 < len(untrusted) <= limit and not UNFIT.search(untrusted) and not BREAKS.search(untrusted)
