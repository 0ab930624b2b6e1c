"""Levelling of processors: a machine is given, at its boot, what the processors of all hosts have.

So it can move to each of them and back. Lives here: what is hidden for that. Which word and bit is which
feature, and how xl is told, is the contract's; whether a machine that runs may go to a host is `precheck`'s.
"""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import and_, or_

from django.conf import settings

from webxen.inventory import queries as inventory
from worker.contract import BadFeatures, Features, read_features


def features(facts: Mapping[str, str]) -> Features:
    """The feature words of `xl info`'s hw_caps; nothing where it does not say."""
    try:
        return read_features(facts["hw_caps"]) if facts.get("hw_caps") else ()
    except BadFeatures:
        return ()


def hidden_at_boot(facts: Iterable[Mapping[str, str]] | None = None) -> Features:
    """What some of these hosts have and others lack; without `facts`, of all accepted hosts."""
    if settings.WEBXEN_CPU_LEVEL == "HOST":
        return ()
    if facts is None:
        facts = [host.facts for host in inventory.accepted_hosts()]
    known = [words for one in facts if (words := features(one))]
    return tuple(reduce(or_, bits) & ~reduce(and_, bits) for bits in zip(*known, strict=True))
