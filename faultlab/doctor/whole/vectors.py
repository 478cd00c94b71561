"""In the victim: vectors of words that an embedding holds in other rows than those of the words' numbers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

import torch
from torch import nn

from faultlab.core.asking import asked
from faultlab.core.user_code import UserCode
from faultlab.doctor.whole.numberings import is_numbering

_LEAST, _MOST_WORDS, _MOST_OBJECTS, _MOST_MODULES = 20, 3000, 500, 8
_SPARE, _NEARLY, _SOME = 3, 0.9, 0.2


class Vectors:
    """Compares embeddings, before they learn, with the numberings and vectors among the user's variables.

    Args:
        code: The definition of the user's own code.
    """

    def __init__(self, code: UserCode) -> None:
        self._code = code
        self._known: set[int] = set()
        self.found: dict[str, Any] = {}

    def called(self, module: nn.Module) -> None:
        """Look at a module that is called for the first time."""
        if id(module) in self._known or len(self._known) >= _MOST_MODULES or self.found:
            return
        self._known.add(id(module))
        layers = [one for one in module.modules() if isinstance(one, nn.Embedding) and one.num_embeddings >= _LEAST]
        if not layers:
            return
        held = list(self._variables())
        vectors = [found for one in held if (found := vectors_of(one))]
        numberings = [one for one in held if isinstance(one, dict) and is_numbering(one)] if vectors else []
        for layer in layers:
            for one in vectors:
                self.found = self.found or moved(layer.weight.detach(), numberings, one)

    def _variables(self) -> Iterator[Any]:
        """Yield the variables of the user's functions that are running and of their modules, and their attributes."""
        frame: FrameType | None = sys._getframe(1)
        known: dict[int, Any] = {}
        while frame is not None:
            if self._code.holds(frame):
                for one in [*frame.f_locals.values(), *frame.f_globals.values()]:
                    known.setdefault(id(one), one)
            frame = frame.f_back
        for one in list(known.values())[:_MOST_OBJECTS]:
            yield one
            if not isinstance(one, (type, nn.Module)) and not callable(one):
                yield from list(_attributes(one).values())[:_MOST_OBJECTS]


def vectors_of(value: Any) -> dict[str, Any]:
    """Return the vectors of words that a variable holds, as a mapping or as the keyed vectors of gensim."""
    # Other mappings may load what they are asked for.
    if isinstance(value, dict):
        if len(value) < _LEAST or not all(isinstance(name, str) for name in value):
            return {}
        found = dict(list(value.items())[:_MOST_WORDS])
        sizes = {len(one) if _is_row(one) else 0 for one in found.values()}
        return found if len(sizes) == 1 and sizes != {0} else {}
    places, rows = (_attributes(value).get(name) for name in ("key_to_index", "vectors"))
    if isinstance(places, dict) and rows is not None and asked(rows, "ndim", 0) == 2:
        return {word: rows[place] for word, place in list(places.items())[:_MOST_WORDS] if place < len(rows)}
    return {}


def moved(weight: torch.Tensor, numberings: Iterable[Mapping[str, int]], vectors: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts about the first words whose vectors are in the rows of other words; empty if they are not.

    It is quiet if one of the numberings fits, and about those that do not number the embedding's rows: they have as
    many names, and some that have no vector, such as those of padding and unknown words.
    """
    if len(next(iter(vectors.values()))) != weight.shape[1]:
        return {}
    rows = {_print(row): place for place, row in enumerate(weight)}
    result: dict[str, Any] = {}
    for numbers in numberings:
        shared = [word for word in numbers if word in vectors]
        if len(shared) < _LEAST:
            continue
        places = {word: rows.get(_print(torch.as_tensor(vectors[word]).to(weight))) for word in shared}
        held = [word for word, place in places.items() if place is not None]
        away = [word for word in held if places[word] != numbers[word]]
        if len(held) - len(away) >= _SOME * len(shared):
            return {}
        fits = 0 <= weight.shape[0] - len(numbers) < _SPARE and len(shared) < len(numbers)
        if fits and not result and len(away) >= _NEARLY * len(shared):
            shifts = {places[word] - numbers[word] for word in away}  # type: ignore[operator]
            result = {"words": len(shared), "away": len(away), "example": away[0], "number": numbers[away[0]],
                      "row": places[away[0]], "shift": shifts.pop() if len(shifts) == 1 else None}  # fmt: skip
    return result


def _is_row(value: Any) -> bool:
    array = isinstance(value, torch.Tensor) or type(value).__module__ == "numpy"
    numbers = isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], float)
    return numbers or (array and asked(value, "ndim", 0) == 1)


def _attributes(value: Any) -> dict[str, Any]:
    """Return what an object holds, without asking the object: it may raise anything."""
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return dict(held) if isinstance(held, dict) else {}


def _print(row: torch.Tensor) -> tuple[float, ...]:
    return tuple(round(one, 4) for one in row.float().cpu().tolist())
