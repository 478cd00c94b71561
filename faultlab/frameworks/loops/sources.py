"""The loaders that a loop learns from, as one observed run shows them: which count its steps, and which do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Roles(NamedTuple):
    """The keys of a loop's loaders by what they are for.

    The batches of ``counting`` begin the steps, those of ``beside`` are learnt from in the same steps, and those of
    ``aside`` are only looked at before the training. Every other loader serves evaluation.
    """

    counting: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()


class Sources:
    """Notes which batches are fetched before each backward or update, and before each forward."""

    def __init__(self) -> None:
        self._pending: list[str] = []
        self._learnt: list[tuple[int, frozenset[str]]] = []
        self._fetched: dict[str, list[int]] = {}
        self._since: dict[str, int] = {}

    def noted(self, key: str, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield the batches of a loader, and note each."""
        for batch in batches:
            self._pending.append(key)
            self._since[key] = self._since.get(key, 0) + 1
            yield batch
        # What was iterated to its end without a backward was evaluated.
        self._pending = [other for other in self._pending if other != key]

    def called(self) -> None:
        """Note that a module is called that may learn."""
        for key, number in self._since.items():
            self._fetched.setdefault(key, []).append(number)
        self._since = {}

    def evaluated(self) -> None:
        """Note an evaluation, which may be left half-way."""
        self._pending = []

    def learn(self, updates: int) -> None:
        """Note that the batches so far are learnt from, after a number of updates."""
        if self._pending:
            self._learnt.append((updates, frozenset(self._pending)))
        self._pending = []

    def roles(self, updates: int) -> Roles:
        """Return what the loaders are for in the first training, which has that many updates."""
        return roles([keys for before, keys in self._learnt if before < updates], updates)

    def ahead(self, key: str) -> int:
        """Return how many batches of a loader are fetched beyond the one that is trained on."""
        return ahead(self._fetched.get(key, []))


def roles(learnt: Sequence[frozenset[str]], updates: int) -> Roles:
    """Tell the loaders of a training apart.

    Args:
        learnt: The loaders whose batches were learnt from together, in the order of the training.
        updates: The number of optimizer steps.
    """
    counts = Counter(key for keys in learnt for key in sorted(keys))
    if len(learnt) == 1 and updates > 1:
        # One batch that all updates learn from.
        return Roles(aside=tuple(counts))
    counting: list[str] = []
    beside: list[str] = []
    aside: list[str] = []
    # A loader of another phase gives many batches in turn, one that is only looked at gives a single one.
    for key, number in counts.most_common():
        together = sum(key in keys and not keys.isdisjoint(counting) for keys in learnt)
        turns = _turns([key in keys for keys in learnt])
        if not counting or (not together and (turns == 1 or 4 * turns <= number)):
            counting.append(key)
        elif number == 1 and len(learnt) > 2:
            aside.append(key)
        else:
            beside.append(key)
    return Roles(tuple(counting), tuple(beside), tuple(aside))


def _turns(present: Sequence[bool]) -> int:
    """Return how often an unbroken sequence of them begins."""
    return sum(now and not before for before, now in zip([False, *present], present))


def ahead(fetched: Sequence[int]) -> int:
    """Return how many batches are fetched ahead, by the numbers fetched before each forward: 2, 1, 1, 1 is one."""
    first, *others = fetched[:3] or [1]
    return first - 1 if others and set(others) == {1} else 0
