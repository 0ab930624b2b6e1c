"""Addresses of domains that are not the portal's, as configured in `xl list -l`.

The portal assigns no such address to a machine.
"""

import logging
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from worker.contract import AddressSeen, DomainSeen
from worker.job.quiet import QuietPeriod
from worker.xen.xl import XlError

logger = logging.getLogger(__name__)

#: age at which the list is read again, beside when such a domain comes or goes; a card that is attached later
#: causes no event
CONFIGS_SECONDS = 600.0
#: time until a list that could not be read is read again
RETRY_SECONDS = 60.0


class Configured(Protocol):
    """Provides the domains' configurations by domid. Raises XlError and OSError."""

    def configs(self) -> dict[int, dict[str, Any]]: ...


class Foreign:
    """Caches the addresses of a host's foreign domains. xl is not called on a host without any."""

    def __init__(
        self, xl: Configured, *, quiet: QuietPeriod | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._xl, self._quiet, self._clock = xl, quiet or QuietPeriod(), clock
        self._domains: frozenset[tuple[int, str]] = frozenset()
        self._again_at = float("-inf")
        self._found: tuple[AddressSeen, ...] = ()

    def addresses(
        self, domains: Sequence[DomainSeen] | None, ours: Collection[str]
    ) -> tuple[AddressSeen, ...]:
        """The addresses of all `domains` but `ours` (uuids).

        The last result if `domains` is None, i.e. unreadable.
        """
        if domains is None:
            return self._found
        known = set(ours)
        foreign = frozenset((one.domid, one.uuid) for one in domains if one.uuid not in known)
        if not foreign:
            self._domains, self._found = foreign, ()
        elif (foreign != self._domains or self._clock() >= self._again_at) and not self._quiet.is_on:
            self._ask(foreign)
        return self._found

    def _ask(self, foreign: frozenset[tuple[int, str]]) -> None:
        self._domains = foreign
        try:
            configs = self._xl.configs()
        except (XlError, OSError) as error:
            logger.warning("xl list -l cannot be read: %s", error)
            self._again_at = self._clock() + RETRY_SECONDS
            return
        self._again_at = self._clock() + CONFIGS_SECONDS
        self._found = tuple(
            AddressSeen(uuid, bridge, address)
            for domid, uuid in sorted(foreign)
            for bridge, address in _read_nics(configs.get(domid))
        )


def _read_nics(untrusted: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Bridge and address of each card. `ip=` may hold several addresses, each with a prefix length."""
    nics = untrusted.get("nics") if untrusted else None
    found = []
    for nic in nics if isinstance(nics, list) else ():
        if isinstance(nic, dict) and isinstance(nic.get("ip"), str):
            bridge = nic.get("bridge")
            words = re.split(r"[\s,]+", nic["ip"])
            found += [(bridge if isinstance(bridge, str) else "", word.partition("/")[0]) for word in words]
    return [(bridge, address) for bridge, address in found if address]
