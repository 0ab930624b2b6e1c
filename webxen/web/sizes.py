"""Format sizes for people: binary units, few digits. Pure. Stored values and the API use MiB."""

import functools
import re

from django.utils import formats
from django.utils.translation import gettext as _

MIB_IN_GIB = 1024
#: four or more digits are hard to compare; both spellings that sentences use
LONG_MIB = re.compile(r"(?<![\d.,])(\d{4,})[ \xa0](?:MiB|МиБ)\b")


def memory(mib: int, *, places: int = 2) -> str:
    """2048 → 2 GiB; 8448 → 8.25 GiB; 256 → 256 MiB; at most `places` decimals."""
    if mib < MIB_IN_GIB:
        return _("%(n)s MiB") % {"n": mib}
    number = round(mib / MIB_IN_GIB, places)
    needed = next(count for count in range(places + 1) if round(number, count) == number)
    return _("%(n)s GiB") % {"n": formats.number_format(number, decimal_pos=needed)}


def gib(number: int) -> str:
    return _("%(n)s GiB") % {"n": number}


def shorten(text: str) -> str:
    """“71429 MiB disk free, 81920 MiB needed” → “69.75 GiB disk free, 80 GiB needed”.

    Different numbers never get the same text: another decimal is used, or MiB are kept.
    """
    found = {int(hit[1]) for hit in LONG_MIB.finditer(text) if int(hit[1]) >= MIB_IN_GIB}
    for places in (2, 3):
        said = {number: memory(number, places=places) for number in found}
        if len(set(said.values())) == len(found):
            return LONG_MIB.sub(functools.partial(_put_in, said), text)
    return text


def _put_in(said: dict[int, str], hit: re.Match[str]) -> str:
    return said.get(int(hit[1]), hit[0])
