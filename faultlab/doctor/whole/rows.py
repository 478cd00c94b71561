"""In the victim: the samples that each model is trained and evaluated on, by fingerprints of their values."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean, pvariance
from types import FrameType
from typing import Any

import torch
from torch import nn

from faultlab.doctor.whole.windows import Windows

_MOST_ROWS, _MOST_STAGES, _MOST_PENDING, _MOST_OWNERS = 100_000, 200, 64, 32
_KEPT_ROWS, _FEATURES = 3000, 256
_EXACT, _LEAST, _RARE = 1e-3, 64, 0.05
_STEPS = {"validation_step": "validation", "test_step": "test", "predict_step": "prediction"}


class Owner:
    """One model: the fingerprints of the samples that it has learnt from, and its evaluations, in their order."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.trained: set[int] = set()
        self.current: set[int] = set()
        self.evaluated: set[int] = set()
        self.stages: list[dict[str, Any]] = []
        self.calls = 0
        self.scale: dict[str, float] = {}
        self.windows = Windows()
        self._values = Values()
        self._open: dict[str, Any] | None = None
        self._rows: list[int] = []
        self._stage_values = Values()
        self._evaluating = False
        self._by: tuple[int, ...] = ()

    def learnt(self, rows: list[int], values: Any) -> None:
        """Take in the samples of a call that the model has learnt from."""
        self.close()
        self.calls += 1
        if self._evaluating:
            self.current, self._evaluating = set(), False
        if len(self.trained) < _MOST_ROWS:
            self.trained.update(rows)
            self.current.update(rows)
            self._values.add(rows, values)
            self.windows.learnt(rows)
            self.scale = self.scale or _scale(values)

    def evaluate(self, rows: list[int], values: Any, place: Callable[[], str]) -> None:
        """Take in the samples of a call without gradients."""
        here = place()
        # One function may evaluate several sets of samples in turn.
        calls = _calls(here.rpartition(":")[0])
        if self._open is not None and (self._open["place"] != here or self._by != calls):
            self.close()
        if self._open is None:
            self._by = calls
            self._open = {"place": here, "doing": _doing(), "scale": _scale(values), "awake": _awake(self.module)}
        self._evaluating = True
        if len(self._rows) < _MOST_ROWS:
            self._rows.extend(rows)
            self._stage_values.add(rows, values)

    def close(self) -> None:
        """End the stage of evaluation, and compare its samples with those that were learnt from."""
        stage, rows = self._open, set(self._rows)
        if stage is None:
            return
        before = len(self.evaluated)
        if self.trained and rows and len(self.stages) < _MOST_STAGES:
            seen = len(rows & self.trained)
            self.stages.append(
                {
                    **stage,
                    "rows": len(self._rows),
                    "after": self.calls,
                    "new": len(rows - self.evaluated) / len(rows),
                    "different": len(rows),
                    "seen": seen,
                    "seen_now": len(rows & self.current),
                    "trained": len(self.trained),
                    "trained_now": len(self.current),
                    "swapped": len(self.current & self.evaluated) / before if before else 0.0,
                    "rich": self._stage_values.rich,
                    "standardized": self._stage_values.standardized(),
                    "overlapping": self.windows.overlapping(rows),
                    "copies": _copies(self._rows, self.trained),
                }
            )
        self.evaluated |= rows
        self._open, self._rows, self._stage_values = None, [], Values()

    def facts(self) -> dict[str, Any]:
        """Return what is known of it as plain data."""
        self.close()
        standardized = self._values.standardized()
        return {"name": type(self.module).__name__, "calls": self.calls, "scale": self.scale, "stages": self.stages,
                "standardized": standardized}  # fmt: skip


class Values:
    """The values of some different samples, to see whether they are standardized by statistics of their own."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._rows: list[Any] = []
        self.rich = False

    def add(self, rows: list[int], values: Any) -> None:
        """Take in samples with their fingerprints."""
        if values is None:
            return
        self.rich = self.rich or (values.is_floating_point() and values.shape[1] >= 3
                                  and bool((values != values.round()).double().mean() > 0.5))  # fmt: skip
        if not values.is_floating_point() or not 2 <= values.shape[1] <= _FEATURES:
            return
        for one, value in zip(rows, values, strict=True):
            if one not in self._known and len(self._rows) < _KEPT_ROWS:
                self._known.add(one)
                self._rows.append(value)

    def standardized(self) -> bool:
        """Return whether most features have mean 0 and deviation 1 over just these samples."""
        if len(self._rows) < 20 or len({len(one) for one in self._rows}) > 1:
            return False
        whole = torch.stack(self._rows).double()
        deviations = [whole.std(0, correction=correction) for correction in (0, 1)]
        varied = deviations[0] > 0
        own = torch.stack([(one - 1).abs() < _EXACT for one in deviations]).any(0) & (whole.mean(0).abs() < _EXACT)
        return int(varied.sum()) >= 2 and bool(own[varied].double().mean() > 0.5)


class Rows:
    """The samples of all models of a process.

    Args:
        place: Returns the line of the user's code that is running.
    """

    def __init__(self, place: Callable[[], str]) -> None:
        self._place = place
        self._owners: dict[int, Owner] = {}
        self._pending: list[tuple[Owner, bool, list[int], Any]] = []

    def called(self, module: Any, args: Iterable[Any], kwargs: Mapping[str, Any], learning: bool) -> None:
        """Take in a call of a model by the user's code."""
        given = next((one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor) and one.dim()), None)
        owner = self._owners.get(id(module))
        if owner is None and len(self._owners) < _MOST_OWNERS:
            owner = self._owners[id(module)] = Owner(module)
        if given is None or owner is None or given.layout != torch.strided or given.requires_grad:
            return
        rows, values = fingerprints(given)
        owner.windows.take(rows, given)
        if learning:
            self._pending = [*self._pending[-_MOST_PENDING:], (owner, module.training, rows, values)]
        else:
            owner.evaluate(rows, values, self._place)

    def learnt(self) -> None:
        """Note a backward pass: it learns from the calls since the last one that were made in the mode of the last."""
        pending, self._pending = self._pending, []
        for owner, training, rows, values in pending:
            if training == pending[-1][1]:
                owner.learnt(rows, values)

    def boundary(self) -> None:
        """Note that a loader begins: what is evaluated from now on is another stage."""
        for one in self._owners.values():
            one.close()

    def facts(self) -> list[dict[str, Any]]:
        """Return the facts of the models that learn and are evaluated."""
        found = [one.facts() for one in self._owners.values()]
        return [one for one in found if one["stages"]]


def fingerprints(batch: torch.Tensor) -> tuple[list[int], torch.Tensor | None]:
    """Return a number for each sample of a batch by its values, and the values, a row each."""
    rows = batch.detach().cpu()
    if rows.dtype in (torch.bfloat16, torch.float16, torch.float64):
        rows = rows.float()
    rows = rows.reshape(len(rows), -1) if rows.numel() else rows.reshape(len(rows), 0)
    if rows.shape[1] == 0:
        return [], None
    if rows.is_floating_point() or rows.dtype == torch.bool:
        return [hash(row.tobytes()) for row in rows.contiguous().numpy()], rows.clone()
    # Token ids are padded to the longest sample of their batch.
    return [hash(_stripped(row)) for row in rows.tolist()], None


def _copies(rows: list[int], trained: set[int]) -> dict[str, Any]:
    """Return facts about the samples of a stage that are in it several times, and those that are in it once.

    ``amounts`` has how many samples are there so many times, without amounts that are rare, and ``spread`` the variance
    of these times by their mean: about 1 or less if they are drawn alike.
    """
    counts = Counter(rows)
    copied = {row: count for row, count in counts.items() if count > 1}
    once = counts.keys() - copied.keys()
    amounts = Counter(copied.values())
    return {
        "copied": len(copied),
        "copies": sum(copied.values()),
        "copied_seen": len(copied.keys() & trained),
        "once": len(once),
        "once_seen": len(once & trained),
        "spread": pvariance(copied.values()) / fmean(copied.values()) if copied else 0.0,
        "amounts": {amount: number for amount, number in amounts.items() if number > _RARE * len(copied)},
    }


def _awake(module: nn.Module) -> str:
    """Return the class of a layer in training mode that behaves otherwise in evaluation; empty without one."""
    for layer in module.modules():
        drops = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
        norms = isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None
        if layer.training and (drops or norms):
            return type(layer).__name__
    return ""


def _scale(values: torch.Tensor | None) -> dict[str, float]:
    if values is None or not values.is_floating_point() or values.numel() < _LEAST:
        return {}
    return {"mean": float(values.mean()), "spread": float(values.std())}


def _stripped(row: list[int]) -> tuple[int, ...]:
    end = len(row)
    while end > 1 and row[end - 1] == row[end - 2]:
        end -= 1
    return tuple(row[:end])


def _calls(file: str) -> tuple[int, ...]:
    """Return the lines of a file that are running, from the innermost to the outermost."""
    found = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == file:
            found.append(frame.f_lineno)
        frame = frame.f_back
    return tuple(found)


def _doing() -> str:
    """Return the kind of evaluation by the step that is running; empty if it is none of a Trainer's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in _STEPS:
            return _STEPS[frame.f_code.co_name]
        frame = frame.f_back
    return ""
