"""One row of a table of transitions, of which every state machine has one. docs/states.md shows them."""

from typing import NamedTuple


class Transition(NamedTuple):
    """An event leads from any of `sources` to `target`; anywhere else it changes nothing."""

    sources: frozenset[str]
    target: str
