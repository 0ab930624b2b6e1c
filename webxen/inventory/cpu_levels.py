"""Levelling of processors: a machine is given, at its boot, what the processors of all x86 hosts have.

So it can move to each of them and back. Lives here: what is hidden for that. Which word and bit is which
feature, and how xl is told, is the contract's; whether a machine that runs may go to a host is `precheck`'s.
"""

import re
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import and_, or_

from django.conf import settings

from webxen.inventory import queries as inventory
from worker.contract import BadFeatures, Features, read_features

#: what kernels call these processors, with 32 bits and 64: hw_caps and cpuid are theirs alone
X86 = re.compile(r"x86_64|amd64|x86|i[3-6]86(pc)?", re.IGNORECASE)


def features(facts: Mapping[str, str]) -> Features:
    """The feature words of `xl info`'s hw_caps; nothing where it does not say.

    A line of zeros says nothing: every ARM host prints one.
    """
    try:
        words = read_features(str(facts.get("hw_caps", ""))) if is_x86(facts) else ()
    except BadFeatures:
        return ()
    return words if any(words) else ()


def is_x86(facts: Mapping[str, str]) -> bool:
    """Does its line `machine` say so, or nothing?"""
    machine = str(facts.get("machine", ""))
    return not machine or X86.fullmatch(machine) is not None


def hidden_at_boot(
    facts: Iterable[Mapping[str, str]] | None = None, *, here: Mapping[str, str] | None = None
) -> Features:
    """What some of these hosts have and others lack; without `facts`, of all accepted hosts.

    `here`: what the host says where the machine boots. A machine goes to no other architecture, so hosts of
    others do not count.
    """
    if settings.WEBXEN_CPU_LEVEL == "HOST" or (here is not None and not is_x86(here)):
        return ()
    if facts is None:
        facts = [host.facts for host in inventory.accepted_hosts()]
    known = [words for one in facts if (words := features(one))]
    return tuple(reduce(or_, bits) & ~reduce(and_, bits) for bits in zip(*known, strict=True))
