"""In the victim: the losses of all evaluations, and those of the one whose weights are loaded after them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from statistics import fmean, median
from typing import Any

import torch
from torch import nn

_MOST, _MOST_BATCHES, _OF_CLASSES = 1000, 200, ("cross_entropy", "nll_loss")


class History:
    """Follows evaluations between steps of a training: their losses by batch, and the weights that were evaluated.

    Attributes:
        restored: What is known of the last load of weights that an evaluation has seen, see `restoration`.
    """

    def __init__(self) -> None:
        self.restored: dict[str, Any] = {}
        self._loaded: dict[int, set[int]] = {}
        self._passes: list[tuple[int, int, dict[int, tuple[float, float | None]]]] = []
        self._current: dict[int, tuple[float, float | None]] = {}
        self._module: nn.Module | None = None
        self._learns = False

    def called(self, module: nn.Module, learning: bool) -> None:
        """Note a call of a model: one that learns ends an evaluation."""
        if learning:
            self._learns = True
            self.close()
        else:
            self._module = module

    def compared(self, name: str, args: tuple[Any, ...], result: torch.Tensor) -> None:
        """Note a loss that an evaluation computes."""
        if len(args) < 2 or not isinstance(args[1], torch.Tensor) or len(self._current) >= _MOST_BATCHES:
            return
        with _aside():
            scores, target = args[0].detach(), args[1].detach()
            right = None
            if name in _OF_CLASSES and scores.dim() == 2 and target.shape == scores.shape[:1]:
                right = float((scores.argmax(1) == target).double().mean())
            self._current[hash(target.cpu().contiguous().numpy().tobytes())] = (float(result), right)

    def close(self) -> None:
        """End an evaluation, before its weights change."""
        current, self._current = self._current, {}
        if current and self._module is not None and self._learns and len(self._passes) < _MOST:
            with _aside():
                self._passes.append((id(self._module), weights_of(self._module), current))

    def loaded(self, module: nn.Module, place: str) -> None:
        """Note that a model has got weights."""
        if not self._passes:
            return
        with _aside():
            self._restored(module, place)

    def _restored(self, module: nn.Module, place: str) -> None:
        print_of = weights_of(module)
        owner = next((one for one, weights, _ in reversed(self._passes) if weights == print_of), None)
        passes = [(weights, losses) for one, weights, losses in self._passes if one == owner]
        at = next((index for index, (weights, _) in enumerate(passes) if weights == print_of), None)
        if owner is None or at is None:
            return
        self._loaded.setdefault(owner, set()).add(at)
        # Weights of several evaluations are looked at in turn.
        if len(self._loaded[owner]) > 1:
            self.restored = {}
        else:
            self.restored = {**restoration([losses for _, losses in passes], at), "place": place}


def restoration(passes: list[dict[int, tuple[float, float | None]]], at: int) -> dict[str, Any]:
    """Return how the evaluation of the loaded weights compares with the others, on the batches that all have.

    ``losses`` has their means; ``worse`` tells whether no batch is better than it usually is, in its loss and in its
    accuracy.
    """
    shared = set(passes[0]).intersection(*passes)
    if not shared:
        return {}
    losses = [fmean(one[key][0] for key in shared) for one in passes]
    series = [[one[key][0] for one in passes] for key in shared]
    worse = all(values[at] >= median(values) for values in series)
    rights = [[right for key in shared if (right := one[key][1]) is not None] for one in passes]
    if all(rights):
        accuracies = [fmean(one) for one in rights]
        worse = worse and accuracies[at] <= median(accuracies) and accuracies[at] < max(accuracies) - 0.02
    return {"at": at, "losses": losses, "worse": worse}


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """Compute without being followed; what can't be read is not compared, and ends no training."""
    with torch._C.DisableTorchFunction(), torch.no_grad(), contextlib.suppress(Exception):
        yield


def weights_of(module: nn.Module) -> int:
    """Return a number for the weights of a module."""
    return hash(tuple(float(one.detach().double().sum()) for one in module.parameters()))
