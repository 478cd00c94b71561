"""What a healthy loop of the user's own, and a healthy training by the Trainer of transformers, is given."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from faultlab import guards
from tests.healthy.training import Course, Goal


class _Kept:
    """What came of a training: its modules, its steps, and the first and the last value of its metric."""

    def __init__(self, folder: Path, goal: Goal, seed: int, level: guards.Level | None, action: guards.Action) -> None:
        self.folder = folder
        self._level, self._action = level, action
        self._modules: list[nn.Module] = []
        self._values: list[float] = []
        self._steps = 0

    def note(self, value: Any) -> None:
        """Note the metric: before the training, and now and then."""
        self._values.append(float(value))

    def course(self) -> Course:
        """What is there now."""
        states = [(f"{n}.{name}", v) for n, one in enumerate(self._modules) for name, v in one.state_dict().items()]
        return Course(
            state={name: v.detach().clone() for name, v in states if isinstance(v, torch.Tensor)},
            random=[torch.get_rng_state(), random.getstate(), repr(np.random.get_state())],
            steps=self._steps,
            metric=(self._values[0], self._values[-1]),
        )


class Loop(_Kept):
    """Hands a loop the guards that watch it."""

    @contextlib.contextmanager
    def watching(self, model: Any, optimizer: Any, **options: Any) -> Iterator[None]:
        """The context of a loop, as `faultlab.guards.watch`. One that is resumed opens it again."""
        for one in _each(optimizer, Optimizer):
            one.register_step_post_hook(self._stepped)
        self._modules = _each(model, nn.Module)
        if self._level is None:
            yield
            return
        with guards.watch(model, optimizer, level=self._level, action=self._action, **options):
            yield

    def _stepped(self, *_: Any) -> None:
        self._steps += 1


class Trained(_Kept):
    """Hands a Trainer of transformers the guards, and trains it."""

    def __call__(self, trainer: Any, **arguments: Any) -> Any:
        """Train, and return the Trainer."""
        if self._level is not None:
            trainer.add_callback(guards.hf(level=self._level, action=self._action))
        self._modules = [trainer.model]
        trainer.train(**arguments)
        self._steps = trainer.state.global_step
        return trainer


def _each(given: Any, kind: type) -> list[Any]:
    if isinstance(given, kind):
        return [given]
    return list(given.values()) if isinstance(given, Mapping) else list(given)
