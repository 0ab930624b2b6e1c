"""How even a cluster is: one number, lower is better, modelled on Ganeti's cluster score.

The sum of the standard deviations over the open hosts of: the free share of memory, the free share of local
disk, vCPUs per processor, and load per processor; plus penalties that outweigh them. Sums of values and of
squares are maintained, so that the cost of a change does not depend on the number of hosts.
"""

from collections.abc import Iterable, Sequence
from math import sqrt

#: two machines of one group on one host (Ganeti: pri_tags_score)
GROUP_WEIGHT = 2.0
#: a machine on a host that is being evacuated (Ganeti: offline_all_cnt 4 and offline_pri_cnt 16)
STRANDED_WEIGHT = 20.0

MEMORY, DISK, VCPUS, LOAD = range(4)
METRICS = 4


class Spread:
    """Running standard deviation of one metric over the hosts."""

    __slots__ = ("count", "squares", "total")

    def __init__(self, values: Iterable[float] = ()) -> None:
        kept = list(values)
        self.count = len(kept)
        self.total = sum(kept)
        self.squares = sum(value * value for value in kept)

    def change(self, old: float, new: float) -> None:
        self.total += new - old
        self.squares += new * new - old * old

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        return self.after(0.0, 0.0)

    def after(self, more: float, more_squares: float) -> float:
        """Return the deviation if the sums were greater by this much."""
        if not self.count:
            return 0.0
        mean = (self.total + more) / self.count
        # the difference of two nearly equal numbers may come out just below zero
        return sqrt(max((self.squares + more_squares) / self.count - mean * mean, 0.0))


def deviation(values: Sequence[float]) -> float:
    """The same from scratch, in two passes; tests compare the running sums with it."""
    if not values:
        return 0.0
    mean = sum(values) / len(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / len(values))
