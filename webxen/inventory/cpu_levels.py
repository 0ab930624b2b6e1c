"""CPU levelling: at boot a machine gets only the features that all accepted x86 hosts have.

It can then migrate to any of them and back. This module computes the features to hide. The contract maps
words and bits to features and passes them to xl; `precheck` decides whether a running machine may go to a
host.
"""

import re
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import and_, or_

from django.conf import settings

from webxen.inventory import queries as inventory
from worker.contract import BadFeatures, Features, read_features

#: names of 32- and 64-bit x86 in kernels; only x86 has hw_caps and cpuid
X86 = re.compile(r"x86_64|amd64|x86|i[3-6]86(pc)?", re.IGNORECASE)


def features(facts: Mapping[str, str]) -> Features:
    """Return the feature words of hw_caps from `xl info`; empty if it is missing or not readable.

    All zeros count as missing: every ARM host prints that.
    """
    try:
        words = read_features(str(facts.get("hw_caps", ""))) if is_x86(facts) else ()
    except BadFeatures:
        return ()
    return words if any(words) else ()


def is_x86(facts: Mapping[str, str]) -> bool:
    """Whether `xl info` reports an x86 machine, or no architecture."""
    machine = str(facts.get("machine", ""))
    return not machine or X86.fullmatch(machine) is not None


def hidden_at_boot(
    facts: Iterable[Mapping[str, str]] | None = None, *, here: Mapping[str, str] | None = None
) -> Features:
    """Return the features that some of these hosts have and others lack.

    `facts`: those of the hosts to compare; all accepted hosts by default. `here`: the facts of the host where
    the machine boots. Hosts of another architecture are ignored, because a machine never migrates to one.
    """
    if settings.WEBXEN_CPU_LEVEL == "HOST" or (here is not None and not is_x86(here)):
        return ()
    if facts is None:
        facts = inventory.processors()
    known = [words for one in facts if (words := features(one))]
    return tuple(reduce(or_, bits) & ~reduce(and_, bits) for bits in zip(*known, strict=True))
