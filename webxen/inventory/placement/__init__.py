"""Where a machine goes: pure, over plain numbers. Reading hosts and holding their memory is elsewhere.

figures (what goes in), fits (why not there), score (how even a cluster is), cluster (a planning copy),
survival (may any one host die), and the plans: choose, evacuate, balance, capacity.
"""

from webxen.inventory.placement.balance import Move, plan_balance
from webxen.inventory.placement.capacity import Capacity, capacity
from webxen.inventory.placement.choose import Choice, choose_host, why_not
from webxen.inventory.placement.evacuate import Step, plan_evacuation
from webxen.inventory.placement.figures import HostFigures, MachineFigures, Need
from webxen.inventory.placement.fits import Verdict

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
    "plan_balance",
    "plan_evacuation",
    "why_not",
)
