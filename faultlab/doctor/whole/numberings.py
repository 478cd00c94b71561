"""In the victim: numberings, such as vocabularies and label maps, that the stages of a training have made apart."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from types import CodeType, FrameType
from typing import Any

from faultlab.core.user_code import UserCode

_LEAST, _MOST_ENTRIES, _MOST_RECORDS, _MOST_OF_ONE = 3, 20_000, 64, 8
_LONGEST = 5.0


class Numberings:
    """Follows the constructors of the user's classes that return while a numbering is among their variables.

    Args:
        code: The definition of the user's own code.
    """

    def __init__(self, code: UserCode) -> None:
        self._code = code
        self._known: dict[CodeType, int] = {}
        self._until = 0.0
        self._made: list[tuple[Any, dict[str, Any]]] = []

    def begin(self) -> None:
        """Follow calls from now on, unless another profiler does."""
        if sys.getprofile() is None:
            self._until = time.perf_counter() + _LONGEST
            sys.setprofile(self._profile)

    def end(self) -> None:
        """Stop following calls."""
        if sys.getprofile() == self._profile:
            sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "return" or code.co_name != "__init__":
            return
        if time.perf_counter() > self._until:
            self.end()
        with contextlib.suppress(Exception):  # what is raised here would be raised in the user's function
            count = self._known.setdefault(code, 0 if self._code.holds(frame) else _MOST_OF_ONE)
            if count < _MOST_OF_ONE:
                self._known[code] = count + 1
                held = frame.f_locals
                found = {name: dict(value) for name, value in list(held.items()) if is_numbering(value)}
                if found and len(self._made) < _MOST_RECORDS:
                    self._made.append((held.get("self"), found))

    def conflict(self, learnt: list[Any], evaluated: list[Any]) -> dict[str, Any]:
        """Return the first numbering that the datasets of training and evaluation have differently, with its names."""
        for mine in learnt:
            for theirs in evaluated:
                if base(mine) is base(theirs):
                    continue
                first, second = self._of(base(mine)), self._of(base(theirs))
                for name in first.keys() & second.keys():
                    if found := disagreement(first[name], second[name]):
                        return {"name": name, "class": type(base(theirs)).__name__, **found}
        return {}

    def _of(self, dataset: Any) -> dict[str, Any]:
        """Return the numberings that a dataset keeps, or had in its constructor."""
        held = getattr(dataset, "__dict__", {})
        found = {name: value for name, value in held.items() if is_numbering(value)}
        for value in held.values():
            inner = getattr(value, "__dict__", None)
            if isinstance(inner, dict) and not found:
                found.update({name: one for name, one in inner.items() if is_numbering(one)})
        for owner, numberings in self._made:
            if owner is dataset:
                found = {**numberings, **found}
        return found


def base(dataset: Any) -> Any:
    """Return the dataset below nested subsets."""
    for _ in range(5):
        if not hasattr(dataset, "indices") or not hasattr(dataset, "dataset"):
            break
        dataset = dataset.dataset
    return dataset


def is_numbering(value: Any) -> bool:
    """Return whether a value is a mapping of names to different small numbers from 0 or 1 on."""
    if not isinstance(value, Mapping) or not _LEAST <= len(value) <= _MOST_ENTRIES:
        return False
    try:
        numbers = list(value.values())
        names = all(isinstance(one, (str, tuple)) for one in value)
        whole = all(type(one) is int for one in numbers)
    except Exception:  # a user's own mapping may do anything
        return False
    return names and whole and len(set(numbers)) == len(numbers) and min(numbers) in range(5) and (
        max(numbers) < 2 * len(numbers) + 5
    )  # fmt: skip


def disagreement(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[str, Any]:
    """Return how many of the names that both have are numbered differently, and one of them; empty if none are."""
    shared = [name for name in one if name in other]
    apart = [name for name in shared if one[name] != other[name]]
    if not apart:
        return {}
    return {"apart": len(apart), "shared": len(shared), "example": str(apart[0])[:40], "mine": one[apart[0]],
            "theirs": other[apart[0]]}  # fmt: skip
