"""The parts of a module, dropout and normalization aside, that compute something else in training than in eval mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from faultlab.guards.support import draws, trainer_state
from faultlab.guards.support.trials import Trial

_USUAL = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
_SEEDS = (1, 2)


def find(trial: Trial, step: Callable[[], Any], tolerance: float) -> dict[str, str]:
    """Return the parts whose training mode changes the loss other than by random numbers: their classes, by name.

    Args:
        trial: The copy, whose buffers are restored after each step.
        step: Runs a step of the copy and returns its output.
        tolerance: The allowed difference of the loss, as a share.

    Raises:
        Exception: Whatever the step raises.
        ValueError: The step returns no finite loss in eval mode.
    """
    module: nn.Module = trial.module
    parts = [(name, part) for name, part in module.named_modules() if not isinstance(part, _USUAL)]

    def losses(training: Iterable[nn.Module]) -> list[tuple[float, draws.Mark]]:
        turned = list(training)
        for part in turned:
            part.training = True
        try:
            return [loss(seed) for seed in _SEEDS]
        finally:
            for part in turned:
                part.training = False

    def loss(seed: int) -> tuple[float, draws.Mark]:
        kept = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
        draws.reseed(seed)
        value = trainer_state.loss_of(step())
        drawn = draws.mark()
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)
        return (math.nan if value is None else float(value)), drawn

    def differ(one: tuple[float, draws.Mark], other: tuple[float, draws.Mark]) -> bool:
        return not abs(one[0] - other[0]) <= tolerance * max(abs(one[0]), abs(other[0]), 1e-6)

    def draws_more(tried: list[tuple[float, draws.Mark]]) -> bool:
        # What drops few values may happen to change the loss alike twice, so that the losses alone don't show it.
        return not all(map(torch.equal, tried[0][1], base[0][1]))

    # With gradients, since a step may compute some itself.
    with trial.running(evaluates=True, grad=True):
        base = losses([])
        if not all(math.isfinite(value) for value, _ in base):
            raise ValueError("the step returns no finite loss in eval mode")
        if differ(*base) or not any(map(differ, losses(part for _, part in parts), base)):
            # A step that draws random numbers in eval mode is another failure.
            return {}
        found = {}
        for name, part in parts:
            tried = losses([part])
            # A part that draws random numbers in training mode drops values, or adds noise.
            if any(map(differ, tried, base)) and not differ(*tried) and not draws_more(tried):
                found[name] = type(part).__name__
        return found
