"""Which part of a model gives the predictions, found by following data from call to call through one clean step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """One call of a part of the model, ``path`` being "" for the module's own forward.

    ``fed_by`` are the earlier calls, by their number, whose outputs go in; ``within`` those that its own output is
    computed from with no call in between, among them its own parts'. ``untouched`` are the parts of the batch that go
    in without having met a parameter. ``learns`` says that the part has parameters, ``looks_up`` that it gives what is
    kept under a number, as embeddings do, ``graph`` that gradients flow through what it gives; ``size`` and ``width``
    are the number of values of its largest output and that output's last dimension.
    """

    path: str
    fed_by: frozenset[int] = frozenset()
    within: frozenset[int] = frozenset()
    untouched: frozenset[str] = frozenset()
    learns: bool = True
    looks_up: bool = False
    graph: bool = True
    size: int = 1
    width: int | None = None


def giver(calls: list[Call], reached: Collection[int], labels: Collection[str]) -> Call | None:
    """The call that gives the predictions; None where no data was seen to go from a part to the loss.

    ``reached`` are the calls whose outputs the loss is computed from with no call in between. A part without parameters
    that is given labels computes a loss, and one that judges what another part has made (a discriminator) gives no
    predictions: what went into them does. Of those left the last in line counts, of several side by side the largest,
    better one that is no embedding; and the module's own forward, if any of them goes by it.
    """
    judges = _judges(calls)
    found = set(_replaced(calls, reached, lambda call: not call.learns and bool(call.untouched & set(labels))))
    made = _replaced(calls, found, lambda call: call.path in judges)
    found = {number for number in made if calls[number].path not in judges} or found
    found = {number for number in found if calls[number].graph} or found
    if not found:
        return None
    lines = {number: _upstream(calls, number) for number in found}
    own = [number for number in set.union(*lines.values()) | found if not calls[number].path]
    if own and calls[max(own)].graph:
        return calls[max(own)]
    last = [number for number in found if not any(number in lines[other] for other in found - {number})]
    return calls[max(last or found, key=lambda number: (calls[number].size, not calls[number].looks_up, number))]


def _judges(calls: list[Call]) -> set[str]:
    """The parts that are given what another part has made, and also what comes from no part."""
    fed: set[str] = set()
    raw: set[str] = set()
    for call in calls:
        others = any(calls[number].path != call.path for number in call.fed_by)
        (fed if others else raw).add(call.path)
    return (fed & raw) - {""}


def _replaced(calls: list[Call], numbers: Iterable[int], passed_over: Callable[[Call], bool]) -> set[int]:
    """These calls, in the place of each that is passed over those that fed it; it stays where none did."""
    found: set[int] = set()
    for number in numbers:
        before = calls[number].fed_by
        found |= _replaced(calls, before, passed_over) if before and passed_over(calls[number]) else {number}
    # A target that a part without parameters prepares for the loss is no prediction.
    return {number for number in found if not passed_over(calls[number])} or found


def _upstream(calls: list[Call], number: int) -> set[int]:
    """Every call whose output went into this one's."""
    found: set[int] = set()
    waiting = [number]
    while waiting:
        call = calls[waiting.pop()]
        # A critic may be handed all that an actor has made, with the state in one container, and look at the state.
        new = (call.within or call.fed_by) - found
        found |= new
        waiting += new
    return found
