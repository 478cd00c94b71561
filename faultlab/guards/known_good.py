"""The guard that compares a training with known good runs, and the callback that records those."""

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
from faultlab.guards.support.callback import HOOKS, Callback
from faultlab.guards.support.trainer_view import view_of
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
"""The checks that remain comparable if the settings, or what the datamodule or the module declares, differ."""

_OPEN = (-math.inf, math.inf)

_REMEDIES = {
    "settings": "Check whether the setting was left from another run, or record new known good runs if the change is "
    "on purpose.",
    "hyperparameters": "Record new known good runs if the change is on purpose.",
    "structure": "Check the definition of the model and the optimizer, or record new known good runs if the change "
    "is on purpose.",
    "initialisation": "Check how each layer is initialized, and whether the right weights are loaded.",
    "data": "Check what has changed in the data, its preprocessing, its labels or its loader.",
    "mode": "Look for calls of eval() and train(), and check dropout and normalization.",
    "activations": "Look at the weights and the input of that layer, and at the code that runs before it.",
    "loss": "Look at what has changed since those runs: data, labels, the loss function, gradients, the optimizer.",
    "gradients": "Look at the loss, at what is detached, clipped or scaled, and at whether gradients are cleared.",
    "updates": "Look at the optimizer, its learning rate and parameters, and at whether its step is taken.",
    "weights": "Look at the optimizer, at other code that writes to them, and at the checkpoint that they were "
    "loaded from.",
    "optimizer-state": "Check whether the optimizer's state was lost, reset or not restored from the checkpoint.",
    "learning-rate": "Look at the learning rate, and at when its scheduler is stepped.",
    "metrics": "Check that the metric is computed and logged as before, on the same validation data.",
    "length": "Look for what ended the training, an epoch or a validation too early or too late.",
}


def _sensing(cls: _C) -> _C:
    """Give a class the hooks of its sensor, each followed by a call of ``_after``."""
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
            except Exception as error:  # a training that can't be observed in some way has not failed
                _log.debug("%s could not observe %s", type(self).__name__, hook, exc_info=True)
                self._unheard(error, hook)
            self._after(hook, trainer)

    sensed.__name__ = hook
    return sensed


@_sensing
class KnownGoodRecorder(Callback):
    """A callback that records a healthy run for `KnownGood`. Record several runs with different seeds.

    Runs that are resumed or that don't end by themselves are not recorded.

    Args:
        file: The file that the run is added to at its end, created if it does not exist. None to keep it in ``summary``
            only.

    Attributes:
        summary: The record after the run, as JSON data; None before.
        looked: How often it looked at this run.
        skipped: How often a look failed, by reason.
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
    """Return the profile of the known good runs in a file, combined again only if the file has changed."""
    return _combined(os.path.abspath(file), os.stat(file).st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _combined(file: str, changed: int) -> Mapping[str, Any]:
    return combine([read(file)])


@_sensing
class KnownGood(Guard):
    """A guard against deviations from known good runs of the same configuration, recorded by `KnownGoodRecorder`.

    The band of a number contains the values of those runs, five standard deviations to either side and some percent, so
    that other seeds fit in. Record at least three runs; with fewer the bands are wider.

    If the Trainer's settings differ, or the hyperparameters that the module or the datamodule declares (``hparams``),
    the configuration is another one: the guard then compares only what does not depend on it, and logs that once. The
    checks ``settings`` and ``hyperparameters`` raise an alarm on the difference itself.

    Args:
        profile: The recorder's file, or the result of `faultlab.guards.known_profile.combine` on the recorders'
            summaries. None to deactivate the guard.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored. ``hyperparameters`` is among them by default, since they
            are usually changed on purpose.

    Raises:
        ValueError: The file holds no known good runs, or those of another version.
    """

    level = "full"
    checks = {
        "settings": "the Trainer's settings differ from those of known good runs",
        "hyperparameters": "the hyperparameters of the module or the datamodule differ",
        "structure": "layers, parameters, optimizers or schedules differ",
        "initialisation": "weights start with other statistics",
        "data": "batches have another layout or other statistics, or are loaded differently",
        "mode": "other parts of the model are in eval mode",
        "activations": "outputs of layers have other statistics in the first steps",
        "loss": "the loss is outside the band of known good runs at this step",
        "gradients": "gradients have another size at this step",
        "updates": "weights move more or less than in known good runs at this step",
        "weights": "weights or buffers have other statistics at the start of an epoch or at the end",
        "optimizer-state": "the optimizer's state has another size at the start of an epoch",
        "learning-rate": "the learning rate differs at this step",
        "metrics": "a logged metric is missing, new, or outside the band of known good runs",
        "length": "the training, an epoch or a validation is shorter or longer",
    }
    causes = {
        "settings": "",
        "hyperparameters": "",
        "structure": "changed, optimizer",
        "initialisation": "initialized, layer, weights",
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
        """Compare a fact with the values that known good runs allow; the sensor calls this.

        Args:
            check: The check that the fact belongs to, a key of ``checks``.
            name: The name of the fact in the profile.
            value: The value in this training; a list of lines for the check ``structure``.
        """
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
                self._others.setdefault(owner, f"{name} is {value} instead of {usual}")
            self._finds(check, f"{name} is {value}, but known good runs had {usual}", f"{name}, {value}, {usual}")

    def number(self, check: str, name: str, cell: int, value: float, chance: float = 0.0) -> None:
        """Compare a number with its band; the sensor calls this.

        Args:
            check: The check that the number belongs to, a key of ``checks``.
            name: The name of the number in the profile.
            cell: The moment of the training, such as the index of a batch or an epoch.
            value: The number.
            chance: The deviation that chance alone causes; only the recorder uses it.
        """
        self.numbers(check, (name,), cell, (value,))

    def numbers(self, check: str, names: Sequence[str], cell: int, values: Sequence[float]) -> None:
        """Compare numbers with their bands, up to the first one outside; the sensor calls this.

        Args:
            check: The check that the numbers belong to, a key of ``checks``.
            names: The names of the numbers in the profile.
            cell: The moment of the training, such as the index of a batch or an epoch.
            values: The numbers, one for each name.
        """
        bands = self._bands.get(check)
        if bands is None or check in self._off or check in self._fired:
            return
        for name, value in zip(names, values):
            band = bands.get(name)
            low, high = _OPEN if band is None else band.get(cell, _OPEN)
            # The reverse comparison would accept NaN.
            if not low <= value <= high and (low, high) != _OPEN:
                at = f" at {self.batch_name(self._sensor.position)}" if self._sensor else ""
                found = f"{name} is {value:.4g}{at}, but known good runs allow {_said(low, high)}"
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
        found = f"in its {name} this training {new}, but known good runs had {old}"
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
                # Users of a short run's record in a long one would think that its loss is compared. By Lightning's
                # logger, since it shows messages below a warning: another configuration is not an alarm.
                logging.getLogger(trainer.log_name).info(
                    "KnownGood: the configuration differs from that of the known good runs (%s), so only these "
                    "checks are compared: %s. Record runs of this configuration with KnownGoodRecorder",
                    what,
                    ", ".join(left) or "nothing",
                )
        if hook == "on_fit_end":
            self._leave()
        # The most severe first. If an observer catches it, the others follow in the next hooks.
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
    """Return the bands of a profile by check, name and cell, with infinite bounds where a band is open."""
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
