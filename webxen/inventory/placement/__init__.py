"""Placement of machines on hosts. Pure: plain values in, plans out; hosts are read and memory reserved
elsewhere.

figures (input), fits (rules), score (evenness of a cluster), cluster (planning copy), survival (N+1), and the
plans: choose, evacuate, balance, capacity.
"""

from webxen.inventory.placement.balance import Move, plan_balance
from webxen.inventory.placement.capacity import Capacity, capacity
from webxen.inventory.placement.choose import Choice, choose_host, why_not
from webxen.inventory.placement.evacuate import Step, plan_evacuation
from webxen.inventory.placement.figures import HostFigures, MachineFigures, Need
from webxen.inventory.placement.fits import Verdict, describe

__all__ = (
    "Capacity",
    "Choice",
    "HostFigures",
    "MachineFigures",
    "Move",
    "Need",
    "Step",
    "Verdict",
    "capacity",
    "choose_host",
    "describe",
    "plan_balance",
    "plan_evacuation",
    "why_not",
)
