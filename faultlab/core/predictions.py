"""The part of a model that gives the predictions, found by tracing data between calls through one clean step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """One call of a part of the model; ``path`` is "" for the module's own forward.

    Attributes:
        fed_by: The earlier calls, by number, whose outputs are inputs of this one.
        within: The calls that its output is computed from with no call in between, those of its own parts included.
        untouched: The parts of the batch that are inputs without having passed a parameter.
        learns: The part has parameters.
        looks_up: The part looks up what is stored under a number, as embeddings do.
        graph: Gradients flow through its output.
        size: The number of values of its largest output.
        width: The last dimension of that output.
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
    """Return the call that gives the predictions; None if no data flowed from a part to the loss.

    A part without parameters that is given labels computes a loss, and one that judges another part's output (a
    discriminator) gives no predictions: their inputs are used instead. Of the remaining calls the last in line counts;
    of several side by side the largest, preferably not an embedding. The module's own forward is preferred if one of
    them passes through it.

    Args:
        calls: The calls of one step, in order.
        reached: The calls whose outputs the loss is computed from with no call in between.
        labels: The parts of the batch that are labels.
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
    """Return the parts that are given both the output of another part and data from no part."""
    fed: set[str] = set()
    raw: set[str] = set()
    for call in calls:
        others = any(calls[number].path != call.path for number in call.fed_by)
        (fed if others else raw).add(call.path)
    return (fed & raw) - {""}


def _replaced(calls: list[Call], numbers: Iterable[int], passed_over: Callable[[Call], bool]) -> set[int]:
    """Return these calls, each that ``passed_over`` rejects replaced by the calls that fed it, if any did."""
    found: set[int] = set()
    for number in numbers:
        before = calls[number].fed_by
        found |= _replaced(calls, before, passed_over) if before and passed_over(calls[number]) else {number}
    # A target that a part without parameters prepares for the loss is not a prediction.
    return {number for number in found if not passed_over(calls[number])} or found


def _upstream(calls: list[Call], number: int) -> set[int]:
    """Return every call whose output went into this one."""
    found: set[int] = set()
    waiting = [number]
    while waiting:
        call = calls[waiting.pop()]
        # A critic may be passed all outputs of an actor, with the state in one container, and read only the state.
        new = (call.within or call.fed_by) - found
        found |= new
        waiting += new
    return found
