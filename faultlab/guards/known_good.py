"""This training goes as known good runs of the same configuration went."""

from __future__ import annotations

import functools
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from faultlab.guards.guard import Action, Guard, held
from faultlab.guards.known_measures import fingerprints
from faultlab.guards.known_profile import ALTERNATIVES, Summary, append, combine, read
from faultlab.guards.known_sensor import Sensor
from faultlab.guards.support.lightning_callback import HOOKS, Callback
from faultlab.guards.support.lightning_view import view_of
from faultlab.guards.support.training_view import TrainingView

_log = logging.getLogger("faultlab.guards")
_C = TypeVar("_C", bound=type)

_OF_DATA = ("settings", "hyperparameters", "data")
_OF_MODULE = ("settings", "hyperparameters", "structure", "initialisation", "mode")
_COMPARABLE = {
    "trainer": {*_OF_DATA, *_OF_MODULE},
    "data": set(_OF_MODULE),
    "module": set(_OF_DATA),
}
"""What can still be compared where the Trainer's settings, or what datamodule or module declare, are others."""

_OPEN = (-math.inf, math.inf)

_REMEDIES = {
    "settings": "Is that a setting left from another run? Record new known good runs if it is on purpose.",
    "hyperparameters": "Record new known good runs if that is on purpose.",
    "structure": "Has the definition of model or optimizer changed? Record new known good runs if it is on purpose.",
    "initialisation": "Is every layer initialised as it was, and are the right weights loaded?",
    "data": "Has the data, its preprocessing, its labels or the way it is loaded changed?",
    "mode": "Who calls eval() or train(), and are dropout and normalisation as they should be?",
    "activations": "Look at that layer's weights, at its input, and at what runs before it.",
    "loss": "Look at what has changed since those runs: data, labels, the loss function, gradients, the optimizer.",
    "gradients": "Look at the loss, at what is detached, clipped or scaled, and at whether gradients are cleared.",
    "updates": "Look at the optimizer, its learning rate and parameters, and at whether its step is taken.",
    "weights": "Look at the optimizer, at what else writes to them, and at the checkpoint that they came from.",
    "optimizer-state": "Was the optimizer's state lost, reset or not restored from the checkpoint?",
    "learning-rate": "Look at the learning rate, and at when its scheduler is stepped.",
    "metrics": "Is the metric computed and logged as it was, on the same validation data?",
    "length": "What ended training, an epoch or validation early, or let it go on?",
}


def _sensing(cls: _C) -> _C:
    """Gives a class the hooks of its sensor, each followed by ``_after``."""
    for hook in HOOKS:
        if hasattr(Sensor, hook):
            sensed = _sensed(hook)
            setattr(cls, hook, held(sensed) if issubclass(cls, Guard) else sensed)
    return cls


def _sensed(hook: str) -> Callable[..., None]:
    def sensed(self: Any, training: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        trainer = view_of(training)
        if hook == "on_fit_start":
            self._begin()
        if self._sensor is not None:
            try:
                getattr(self._sensor, hook)(trainer, pl_module, *args, **kwargs)
                self.looked += 1
            except Exception as error:  # a training that can't be looked at in some way is no failure of it
                _log.debug("%s could not look at %s", type(self).__name__, hook, exc_info=True)
                self._unheard(error, hook)
            self._after(hook, trainer)

    sensed.__name__ = hook
    return sensed


@_sensing
class KnownGoodRecorder(Callback):
    """Records a healthy run, to be compared with by `KnownGood`: a few of them, with different seeds.

    ``looked`` counts its looks, ``skipped`` those that failed, by what went wrong.

    At the run's end ``summary`` is the record, which JSON can hold, and it is added to ``file`` if there is one. Runs
    that are resumed, or that end otherwise than by themselves, are no examples, and are not recorded.
    """

    def __init__(self, file: str | Path | None = None) -> None:
        self.file = file
        self.summary: dict[str, Any] | None = None
        self.looked = 0
        self.skipped: Counter[str] = Counter()
        self._sensor: Sensor | None = None
        self._kept = Summary()

    def _begin(self) -> None:
        self.summary, self._kept = None, Summary()
        self.looked = 0
        self.skipped.clear()
        self._sensor = Sensor(self._kept, self._unheard)

    def _unheard(self, error: Exception, where: str = "a part of the module") -> None:
        self.skipped[f"{where}: {type(error).__name__}: {error}"] += 1

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self._sensor is not None:
            self._sensor.ears.off()
        self._sensor = None

    def _after(self, hook: str, trainer: TrainingView) -> None:
        if hook == "on_fit_end" and self._sensor is not None:
            self._sensor.ears.off()
            resumed, self._sensor = self._sensor.start, None
            if not resumed and trainer.is_global_zero:
                self.summary = self._kept.to_json()
                if self.file is not None:
                    append(self.file, self.summary)


def profile_of(file: str | Path) -> Mapping[str, Any]:
    """Return the profile of the known good runs in a file; they are combined anew only when the file has changed."""
    return _combined(os.path.abspath(file), os.stat(file).st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _combined(file: str, changed: int) -> Mapping[str, Any]:
    return combine([read(file)])


@_sensing
class KnownGood(Guard):
    """Compares a training with known good runs of the same configuration, which `KnownGoodRecorder` has recorded.

    ``profile`` is the recorder's file, or what ``combine`` makes of the recorders' summaries; without one the guard
    keeps quiet. Of numbers, the band is what those runs had, five standard deviations to either side, and some per
    cent: wide enough for other seeds. Three runs are the least that tell how far runs are apart; fewer make for wider
    bands.

    Where the Trainer's settings differ, or the hyperparameters that module or datamodule declare (``hparams``), the run
    is of another configuration, and only what does not depend on them is compared; the log says so once. The checks
    ``settings`` and ``hyperparameters`` alarm on the difference itself. ``hyperparameters`` is left out by default,
    since they are declared on purpose.
    """

    level = "full"
    checks = {
        "settings": "the Trainer has other settings than in known good runs",
        "hyperparameters": "the module or the datamodule declares other hyperparameters",
        "structure": "layers, parameters, optimizers or schedules are others",
        "initialisation": "weights begin with other statistics",
        "data": "batches have another layout or other statistics, or are loaded otherwise",
        "mode": "other parts of the model are in eval mode",
        "activations": "layers give outputs of other statistics in the first steps",
        "loss": "the loss is outside the band of known good runs at this step",
        "gradients": "gradients are of another size at this step",
        "updates": "weights move by more or less than they did at this step",
        "weights": "weights or buffers have other statistics at an epoch's beginning or the end",
        "optimizer-state": "what the optimizer remembers is of another size at an epoch's beginning",
        "learning-rate": "the learning rate is another one at this step",
        "metrics": "a logged metric is missing, new, or outside the band of known good runs",
        "length": "training, an epoch or a validation was shorter or longer",
    }
    causes = {
        "settings": "",
        "hyperparameters": "",
        "structure": "changed, optimizer",
        "initialisation": "initialised, layer, weights",
        "data": "labels",
        "mode": "mode, eval, training, dropout, normalization",
        "activations": "layer, weights",
        "loss": "loss function, labels, gradients, optimizer, changed",
        "gradients": "gradients, detached, clipped, scaled, loss",
        "updates": "optimizer, learning rate, parameters, step",
        "weights": "optimizer, checkpoint",
        "optimizer-state": "optimizer, lost, reset, restored, checkpoint",
        "learning-rate": "learning rate, scheduler, step",
        "metrics": "metric, logged, same, validation data",
        "length": "early, epoch, validation, training",
    }

    def __init__(
        self,
        profile: str | Path | Mapping[str, Any] | None = None,
        *,
        action: Action = "raise",
        leave_out: tuple[str, ...] | list[str] = ("hyperparameters",),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.profile = profile_of(profile) if isinstance(profile, (str, Path)) else profile
        self._sensor: Sensor | None = None
        self._bands = _bands(self.profile["bands"]) if self.profile else {}
        self._begin()

    def _begin(self) -> None:
        self._sensor = Sensor(self, self._unheard) if self.profile else None
        self._facts: dict[str, Any] = dict(self.profile["facts"]) if self.profile else {}
        self._off: set[str] = set()
        self._fired: set[str] = set()
        self._others: dict[str, str] = {}
        self._found: list[tuple[str, str, str]] = []

    def _unheard(self, error: Exception, where: str = "a part of the module") -> None:
        self.skip(f"{where}: {type(error).__name__}: {error}")

    def fact(self, check: str, name: str, value: Any) -> None:
        """Compares a fact with what it may be."""
        known = self._facts.get(check)
        if known is None or check in self._off or check in self._fired:
            return
        allowed = known.get(name, None if check in ("settings", "hyperparameters") else [])
        if check == "structure":
            self._compare_lines(name, value, allowed)
        elif allowed is not None and len(allowed) < ALTERNATIVES and value not in allowed:
            usual = " or ".join(map(str, allowed[:3])) if allowed else "nothing of the kind"
            owner = "trainer" if check == "settings" else name.partition(".")[0]
            if check in ("settings", "hyperparameters"):
                self._others.setdefault(owner, f"{name} is {value}, and was {usual}")
            self._finds(check, f"{name} is {value}, and known good runs had {usual}", f"{name}, {value}, {usual}")

    def number(self, check: str, name: str, cell: int, value: float, chance: float = 0.0) -> None:
        """Compares a number with its band."""
        self.numbers(check, (name,), cell, (value,))

    def numbers(self, check: str, names: Sequence[str], cell: int, values: Sequence[float]) -> None:
        """Compares numbers with their bands, up to the first that is outside."""
        bands = self._bands.get(check)
        if bands is None or check in self._off or check in self._fired:
            return
        for name, value in zip(names, values):
            band = bands.get(name)
            low, high = _OPEN if band is None else band.get(cell, _OPEN)
            # The other way round NaN would lie in every band.
            if not low <= value <= high and (low, high) != _OPEN:
                at = f" at batch {self._sensor.position}" if self._sensor else ""
                found = f"{name} is {value:.4g}{at}, and known good runs allow {_said(low, high)}"
                self._finds(check, found, f"{name}, {value:.4g}")
                return

    def _compare_lines(self, name: str, lines: list[str], allowed: list[list[str]] | None) -> None:
        marks, block = fingerprints(lines)
        if allowed is None or marks in allowed or not allowed:
            return
        known = allowed[0]
        index = next((i for i, (a, b) in enumerate(zip(marks, known)) if a != b), min(len(marks), len(known)))
        new = f"has {lines[index * block]}" if index < len(marks) else f"has {len(lines)} of them"
        old = known[index] if index < len(known) and marks is lines else f"{len(known)} of them"
        if marks is not lines:
            new, old = f"{new} or one of the next {block}", "others"
        found = f"of {name} this training {new}, where known good runs had {old}"
        self._finds("structure", found, f"{name}, {new}, {old}")

    def _finds(self, check: str, found: str, causes: str) -> None:
        self._fired.add(check)
        if check not in self.leave_out:
            self._found.append((check, found, causes))

    def _after(self, hook: str, trainer: TrainingView) -> None:
        if hook == "on_fit_start" and self._others:
            comparable = set.intersection(*(_COMPARABLE[owner] for owner in self._others))
            self._off = set(self.checks) - comparable
            if trainer.is_global_zero:
                what = "; ".join(self._others.values())
                left = [check for check in self.checks if check in comparable and check not in self.leave_out]
                # Whoever takes a short run's record into a long one would think that its loss is watched. Lightning's
                # logger, since that shows what is no warning: another configuration is no alarm.
                logging.getLogger(trainer.log_name).info(
                    "KnownGood: another configuration than the known good runs (%s), so that it compares only: %s. "
                    "Record runs of this configuration with KnownGoodRecorder",
                    what,
                    ", ".join(left) or "nothing",
                )
        if hook == "on_fit_end":
            self._leave()
        # The gravest first; under an observer that swallows it the others follow in the next hooks.
        self._found.sort(key=lambda found: list(self.checks).index(found[0]))
        while self._found:
            check, found, causes = self._found.pop(0)
            self.alarm(check, found, _REMEDIES[check], causes)

    def on_exception(self, trainer: TrainingView, pl_module: Any, exception: BaseException) -> None:
        sensor = self._sensor
        if sensor is not None and (isinstance(exception, SystemExit) or "SIGTERM" in type(exception).__name__):
            # Both may end the process with status 0.
            sensor.ended(trainer)
            self._after("on_fit_end", trainer)
        self._leave()

    def _leave(self) -> None:
        if self._sensor is not None:
            self._sensor.ears.off()
        self._sensor = None


def _bands(checks: Mapping[str, Any]) -> dict[str, dict[str, dict[int, tuple[float, float]]]]:
    """The bands of a profile by check, name and cell; what is open to a side goes on without end."""
    return {
        check: {
            name: {
                int(cell): (-math.inf if low is None else low, math.inf if high is None else high)
                for cell, (low, high) in cells.items()
            }
            for name, cells in named.items()
        }
        for check, named in checks.items()
    }


def _said(low: float, high: float) -> str:
    if math.isinf(low) or math.isinf(high):
        return f"{high:.4g} at most" if math.isinf(low) else f"{low:.4g} at least"
    return f"{low:.6g}" if low == high else f"{low:.4g} to {high:.4g}"
