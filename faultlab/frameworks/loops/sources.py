"""The loaders that a loop learns from, as one observed run shows them: which count its steps, and which do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
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
    """Notes which batches are fetched before each backward or update, and before each forward.

    Attributes:
        iterated: The keys of all loaders, in the order of their first iteration.
    """

    def __init__(self) -> None:
        self.iterated: dict[str, None] = {}
        self._pending: list[str] = []
        self._learnt: list[tuple[int, frozenset[str]]] = []
        self._fetched: dict[str, list[int]] = {}
        self._since: dict[str, int] = {}

    def noted(self, key: str, batches: Iterator[Any]) -> Iterator[Any]:
        """Return the batches of a loader; each is noted as it is taken."""
        self.iterated[key] = None
        return self._noted(key, batches)

    def _noted(self, key: str, batches: Iterator[Any]) -> Iterator[Any]:
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

    def learn(self, step: int) -> None:
        """Note that the batches so far are learnt from, for the optimizer step of that number."""
        if self._pending:
            self._learnt.append((step, frozenset(self._pending)))
        self._pending = []

    def learnt(self, steps: Collection[int]) -> list[frozenset[str]]:
        """Return the loaders whose batches were learnt from together, for each time in these optimizer steps."""
        wanted = set(steps)
        return [keys for step, keys in self._learnt if step in wanted]

    def ahead(self, key: str) -> int:
        """Return how many batches of a loader are fetched beyond the one that is trained on."""
        return ahead(self._fetched.get(key, []))


def roles(learnt: Sequence[frozenset[str]]) -> Roles:
    """Tell the loaders of a training apart.

    Args:
        learnt: The loaders whose batches were learnt from together, in the order of the training.
    """
    counts = Counter(key for keys in learnt for key in sorted(keys))
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
