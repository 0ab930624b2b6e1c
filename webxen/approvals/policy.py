"""Policy: whether a request is approved automatically, needs staff, or is refused. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from webxen.core.messages import Message
from webxen.quotas.shortage import Figures, Headroom, describe_shortage


class Verdict(StrEnum):
    AUTO = "AUTO"
    MANUAL = "MANUAL"
    REFUSE = "REFUSE"


@dataclass(frozen=True)
class Decision:
    """Result of the policy; `why` is one sentence, empty for AUTO."""

    verdict: Verdict
    why: str = ""
    is_over_quota: bool = False


OWN_FIGURES = Message("CUSTOM_SIZE_NEEDS_APPROVAL")


def decide(*, figures: Figures, is_listed_size: bool, headroom: Headroom) -> Decision:
    """Approve a listed size within the quota automatically; leave everything else to staff.

    A project without quota is refused, because an approval could not help.
    """
    if headroom.limit.machines == 0:
        return Decision(Verdict.REFUSE, Message("PROJECT_HAS_NO_QUOTA"))
    if missing := describe_shortage(headroom, figures):
        return Decision(Verdict.MANUAL, missing, is_over_quota=True)
    if not is_listed_size:
        return Decision(Verdict.MANUAL, OWN_FIGURES)
    return Decision(Verdict.AUTO)
