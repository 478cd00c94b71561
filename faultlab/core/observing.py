"""Code that only observes a training: faults and records of the training take no notice of what it does.

Layers that know such code register a function that returns whether it is at work, so that layers below need not know
it.
"""

from __future__ import annotations

from collections.abc import Callable


class Observers:
    """One kind of work that observers do.

    Attributes:
        at_work: Returns whether some observer is doing such work. It is called many times in a step.
    """

    def __init__(self) -> None:
        self.at_work: Callable[[], bool] = _never

    def register(self, at_work: Callable[[], bool]) -> None:
        """Ask this function, too, from now on."""
        known = self.at_work
        self.at_work = at_work if known is _never else lambda: known() or at_work()


def _never() -> bool:
    return False


TRIALS = Observers()
"""Runs of copies of the module, to see what it does."""
EXCHANGES = Observers()
"""Collectives of observers that compare several ranks."""
