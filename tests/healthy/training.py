"""A healthy training: what it is, how it is run with and without guards, and what is left when it has ended."""

from __future__ import annotations

import contextlib
import logging
import random
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch
import numpy as np
import pytorch_lightning
import torch

from faultlab import guards
from faultlab.guards import Alarm, GuardWarning
from faultlab.guards.support.callback import Callback

LEVELS = guards.LEVELS
_QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


@dataclass(frozen=True)
class Goal:
    """What a training has learned at its end and has not at its start: ``metric`` is logged, and better by ``mode``."""

    metric: str
    mode: Literal["min", "max"]
    value: float

    def met(self, value: float) -> bool:
        return value <= self.value if self.mode == "min" else value >= self.value


@dataclass
class Course:
    """What came of a training: all that guards may not change, and what they said.

    ``metric`` holds the first and the last value of the goal's metric, where no guards watched.
    """

    state: dict[str, torch.Tensor] = field(default_factory=dict)
    random: list[Any] = field(default_factory=list)
    steps: int = 0
    metric: tuple[float, float] = (float("nan"), float("nan"))
    alarm: str | None = None
    warned: list[str] = field(default_factory=list)

    @property
    def said(self) -> list[str]:
        """The alarm that ended the training, the guards' warnings, and which of them failed themselves."""
        return ([] if self.alarm is None else [self.alarm]) + self.warned

    def differences(self, other: Course) -> list[str]:
        """What is not equal to the bit: names of weights and buffers, the random state, the number of steps."""
        names = self.state.keys() | other.state.keys()
        unlike = sorted(name for name in names if not _equal(self.state.get(name), other.state.get(name)))
        unlike += [] if self.steps == other.steps else ["the number of steps"]
        alike = all(_equal(one, another) for one, another in zip(self.random, other.random))
        return unlike + ([] if alike else ["the random state"])


class Fit:
    """Hands a training the Trainer that it asks for, with the guards among its callbacks.

    ``folder`` is where the training may write. A training that calls this twice is resumed or goes on in stages: it has
    new guards each time, as it would in another process.
    """

    def __init__(self, folder: Path, goal: Goal, seed: int, level: guards.Level | None, action: guards.Action) -> None:
        self.folder = folder
        self._watching: Callable[[], Any] | None = None
        if level is not None:
            self._watching = lambda: guards.all(level, monitor=goal.metric, mode=goal.mode, action=action)
        # Guards may stand before a training's own callbacks or behind them.
        self._first = seed % 2 == 0
        self._noted = _Noted(goal.metric)
        self._trainers: list[Any] = []
        self._module: Any = None

    def __call__(
        self,
        module: Any,
        train: Any = None,
        validation: Any = None,
        *,
        datamodule: Any = None,
        ckpt_path: Any = None,
        callbacks: Iterable[Any] = (),
        **trainer: Any,
    ) -> Any:
        """Trains the module with a Trainer of its own package, and returns the Trainer."""
        own = getattr(module, "_orig_mod", module)
        package = pytorch_lightning if isinstance(own, pytorch_lightning.LightningModule) else lightning.pytorch
        observers = [self._noted if self._watching is None else self._watching()]
        arguments = {"enable_checkpointing": False, "default_root_dir": self.folder, **_QUIET, **trainer}
        all_callbacks = [*observers, *callbacks] if self._first else [*callbacks, *observers]
        made = package.Trainer(callbacks=all_callbacks, **arguments)
        self._trainers.append(made)
        self._module = module
        made.fit(module, train, validation, datamodule=datamodule, ckpt_path=ckpt_path)
        return made

    def course(self) -> Course:
        """What is there now."""
        state = {} if self._module is None else self._module.state_dict()
        return Course(
            state={n: v.detach().clone() for n, v in state.items() if isinstance(v, torch.Tensor)},
            random=[torch.get_rng_state(), random.getstate(), repr(np.random.get_state())],
            steps=self._trainers[-1].global_step if self._trainers else 0,
            metric=(self._noted.first, self._noted.last),
        )


class _Noted(Callback):
    """The first and the last value of a metric."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self.first = self.last = float("nan")

    def _note(self, trainer: Any) -> None:
        if (value := trainer.callback_metrics.get(self._metric)) is not None:
            self.last = float(value)
            self.first = self.last if self.first != self.first else self.first

    def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
        self._note(trainer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.first != self.first:
            self._note(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._note(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._note(trainer)


@dataclass(frozen=True)
class Training:
    """``body`` builds everything and trains it with the `Fit` that it is given; ``needs`` is a package beyond torch.

    ``by`` is what it is given: the class that hands it the guards and knows what came of it.
    """

    name: str
    what: str
    goal: Goal
    body: Callable[[Any], None]
    needs: str | None = None
    by: Callable[..., Any] = Fit

    def learned(self, course: Course) -> bool:
        """Whether a course without guards reached the goal, and had not reached it at its start."""
        first, last = course.metric
        return self.goal.met(last) and not (first != first or self.goal.met(first))

    def run(self, seed: int, level: guards.Level | None = None, action: guards.Action = "raise") -> Course:
        """Trains from a seed, watched by all guards of a level, or by none."""
        with tempfile.TemporaryDirectory() as folder, quiet() as warned:
            fit = self.by(Path(folder), self.goal, seed, level, action)
            torch.manual_seed(seed), random.seed(seed), np.random.seed(seed)  # type: ignore[func-returns-value]
            try:
                self.body(fit)
            except Exception as error:
                if level is None:
                    raise
                # What ends a training only where guards watch is theirs, whether they meant it or not.
                return Course(alarm=str(error) if isinstance(error, Alarm) else f"{type(error).__name__}: {error}")
            course = fit.course()
        course.warned = [str(entry.message) for entry in warned if issubclass(entry.category, GuardWarning)]
        return course


TRAININGS: dict[str, Training] = {}
"""All of them, by name; `tests.healthy` imports the modules that define them."""


def healthy(
    what: str, goal: Goal, needs: str | None = None, by: Callable[..., Any] = Fit
) -> Callable[[Callable[[Any], None]], Training]:
    """Makes a training of the function that follows, named after it. ``what`` is a sentence for the table."""

    def register(body: Callable[[Any], None]) -> Training:
        name = body.__name__.replace("_", " ")
        assert name not in TRAININGS
        TRAININGS[name] = Training(name, what, goal, body, needs, by)
        return TRAININGS[name]

    return register


@contextlib.contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Lightning says nothing, and what is warned of is collected."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield warned
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _equal(one: Any, other: Any) -> bool:
    """To the bit, so that NaN equals itself and 0.0 is not -0.0."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        as_bytes = [t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (one, other)]
        return torch.equal(*as_bytes)
    return bool(one == other)
