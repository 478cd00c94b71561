"""In the victim: the averages that a loop makes of what it reads from its evaluations, and what they are divided by."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import torch

from faultlab.core.user_code import UserCode

_LEAST, _MOST_VALUES, _MOST_NAMES, _MOST_PASSES, _MOST_FOUND = 2, 4096, 200, 50, 8
_EXACT, _FAR = 1e-6, 0.1


class Evaluation:
    """The numbers that one pass of evaluation reads from tensors, by line, and its size and that of its training."""

    def __init__(self, trained: int, samples: int) -> None:
        self.read: dict[str, list[float]] = {}
        self.sizes: list[int] = []
        self.trained, self.trained_samples = trained, samples
        self.whole: set[int] = set()

    @property
    def samples(self) -> int:
        return sum(self.sizes)


class Averages:
    """Follows evaluations, and looks for numbers in the loop that are their sums divided by another count.

    Attributes:
        found: Such numbers: their ``name``, the ``place`` at which their parts are read, the ``kind`` of the count that
            they are divided by, this count (``by``) and the right one (``right``).
    """

    def __init__(self, code: UserCode) -> None:
        self.found: list[dict[str, Any]] = []
        self._code = code
        self._passes: list[Evaluation] = []
        self._open: Evaluation | None = None
        self._trained = self._trained_samples = 0
        self._named: dict[str, list[float]] = {}
        self._means: set[float] = set()
        self._of_means: set[str] = set()

    def mean(self, value: float) -> None:
        """Take in a loss that is the mean over the samples of a batch."""
        self._means.add(value)

    def read(self, value: Any) -> None:
        """Take in a number that is read from a tensor while no gradients are computed."""
        now = self._open
        if now is not None and isinstance(value, (int, float)) and sum(map(len, now.read.values())) < _MOST_VALUES:
            place = self._code.running()
            now.read.setdefault(place, []).append(float(value))
            if float(value) in self._means:
                self._of_means.add(place)

    def evaluated(self, samples: int, whole: int | None) -> None:
        """Take in a call of a model without gradients, and the size of the dataset that its batch is from."""
        if self._open is None and self._trained and len(self._passes) < _MOST_PASSES:
            self._open = Evaluation(self._trained, self._trained_samples)
        if self._open is not None:
            self._open.sizes.append(samples)
            self._open.whole |= {whole} if whole else set()
            self._trained = self._trained_samples = 0

    def learnt(self, samples: int) -> None:
        """Take in a call of a model that is learnt from: what was evaluated before it is complete."""
        self._trained += 1
        self._trained_samples += samples
        if self._open is not None:
            self._passes.append(self._open)
            self._open = None
            self._look()

    def _look(self) -> None:
        """Compare the numbers in the frames of the user's code with the sums of the last pass."""
        numbers = dict(self._numbers())
        last = self._passes[-1]
        for place, values in last.read.items():
            total = sum(values)
            if len(values) < _LEAST or not total:
                continue
            right = {len(values), len(last.sizes), *(() if place in self._of_means else (last.samples,))}
            self._unequal(place, values, numbers)
            if any(_is(total / value, right) for value in numbers.values() if value):
                continue
            for name, value in numbers.items():
                if value and math.isfinite(value):
                    self._judge(name, value, place, total, right)

    def _judge(self, name: str, value: float, place: str, total: float, right: set[int]) -> None:
        last = self._passes[-1]
        values = last.read[place]
        # Two losses that one line prints are not those of two batches, and half of two is the last one itself.
        a_batch_each, times = len(values) == len(last.sizes), {1, 2} if len(values) > 2 else {1}
        if a_batch_each and len(set(values)) > 1 and _is(len(values) * value / (values[-1] or math.inf), times):
            self._note(name, value, place, "last batch", len(values), last)
        nominal = {len(last.sizes) * size for size in (last.sizes[0], last.sizes[-1])} if a_batch_each else set()
        if place not in self._of_means and _is(total / value, nominal - right):
            self._note(name, value, place, "batches of one size", round(total / value), last)
        wrongs = {"training batches": {last.trained}, "training samples": {last.trained_samples}}
        wrongs.update({"validation samples": {last.samples}, "whole": last.whole - {last.samples}})
        for kind, counts in wrongs.items():
            if _is(total / value, counts - right):
                self._note(name, value, place, kind, round(total / value), last)
        alike = [one for one in self._passes if place in one.read]
        if len(alike) > 2:
            whole = sum(sum(one.read[place]) for one in alike)
            counts = {sum(len(one.read[place]) for one in alike), sum(one.samples for one in alike)}
            if _is(whole / value, counts):
                self._note(name, value, place, "earlier passes", len(alike), last)

    def _unequal(self, place: str, values: list[float], numbers: Mapping[str, float]) -> None:
        """Find a mean of the batches' means that is not the mean of the samples."""
        last = self._passes[-1]
        means = place in self._of_means or all(0 <= one <= 1 for one in values)
        if not means or len(values) != len(last.sizes) or not last.samples:
            return
        mean = sum(values) / len(values)
        proper = sum(one * size for one, size in zip(values, last.sizes, strict=True)) / last.samples
        if abs(mean - proper) > _FAR * abs(proper):
            for name, value in numbers.items():
                if value and math.isclose(value, mean, rel_tol=_EXACT):
                    self._note(name, value, place, "unequal batches", last.sizes[-1], last)

    def _note(self, name: str, value: float, place: str, kind: str, by: int, last: Evaluation) -> None:
        earlier = self._named.setdefault(f"{name} {place} {kind}", [])
        # A constant may have that value by chance.
        if any(one != value for one in earlier) and len(self.found) < _MOST_FOUND:
            self.found = [one for one in self.found if (one["name"], one["kind"]) != (name, kind)]
            self.found.append({"name": name, "place": place, "kind": kind, "by": by, "right": len(last.sizes),
                               "samples": last.samples})  # fmt: skip
        earlier.append(value)

    def _numbers(self) -> Iterator[tuple[str, float]]:
        frame: FrameType | None = sys._getframe(1)
        count = 0
        while frame is not None and count < _MOST_NAMES:
            if self._code.holds(frame):
                for name, value in list(frame.f_locals.items())[:_MOST_NAMES]:
                    count += 1
                    if isinstance(value, float):
                        yield name, value
                    elif isinstance(value, torch.Tensor) and value.dim() == 0 and value.is_floating_point():
                        yield name, float(value.detach())
                    elif isinstance(value, list) and value and isinstance(value[-1], float):
                        yield f"{name}[-1]", value[-1]
            frame = frame.f_back


def _is(value: float, counts: set[int]) -> bool:
    return any(count and math.isclose(value, count, rel_tol=_EXACT) for count in counts)
