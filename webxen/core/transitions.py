"""One row of a state machine's transition table. docs/states.md shows the tables."""

from typing import NamedTuple


class Transition(NamedTuple):
    """An event leads from any of `sources` to `target`; in any other state it has no effect."""

    sources: frozenset[str]
    target: str
