"""Format sizes for people: binary units, few digits. Pure. Stored values and the API use MiB."""

from django.utils import formats
from django.utils.translation import gettext as _

MIB_IN_GIB = 1024


def memory(mib: int, *, places: int = 2) -> str:
    """2048 → 2 GiB; 8448 → 8.25 GiB; 256 → 256 MiB; at most `places` decimals."""
    if mib < MIB_IN_GIB:
        return _("%(n)s MiB") % {"n": mib}
    number = round(mib / MIB_IN_GIB, places)
    needed = next(count for count in range(places + 1) if round(number, count) == number)
    return _("%(n)s GiB") % {"n": formats.number_format(number, decimal_pos=needed)}


def gib(number: int) -> str:
    return _("%(n)s GiB") % {"n": number}
