"""In the victim: the inputs of the module's metric objects and of their validation values."""

from __future__ import annotations

import copy
import functools
import re
import sys
from collections.abc import Callable
from typing import Any

from faultlab.core.patching import Patches
from faultlab.doctor import anatomy

_CURVES = re.compile(r"AUROC|ROC|PrecisionRecallCurve|AveragePrecision|AtFixed")
_ENOUGH = 16


class MetricObjects:
    """Fills ``found`` while a training runs, by the metrics' names.

    ``carried`` has (updates from earlier validations, from training) that a validation value includes, ``decisions``
    the classes of threshold metrics that get only 0 and 1, ``averaged`` (class, logged name, logged value, value over
    all samples) of logged means over batches that differ from the value over all samples.
    """

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {"carried": {}, "decisions": {}, "averaged": {}}
        self._metrics: dict[str, Any] = {}
        self._left: dict[str, int] = {}
        self._before: dict[str, tuple[int, int]] = {}
        self._values: dict[str, set[float]] = {}
        self._counted: dict[str, int] = {}
        self._validates = False
        self._twins: dict[str, Any] = {}
        self._given: list[tuple[Any, str]] = []
        self._logged: dict[str, str] = {}

    def attach(self, patches: Patches, base: type) -> None:
        """Watch calls of metrics, by their class: calls of copies must not count.

        Args:
            patches: Holds the wrappers.
            base: The LightningModule of the training's own namespace.
        """
        # Users without metrics must not pay for importing torchmetrics.
        if (torchmetrics := sys.modules.get("torchmetrics")) is not None:
            patches.wrap(torchmetrics.Metric, "forward", self._forwarding)
            patches.wrap(base, "log", self._logging)

    def hook(self, trainer: Any, name: str) -> None:
        """Take in a hook that Lightning is about to call on its callbacks."""
        if name == "on_train_start":
            self._begin(anatomy.module_of(trainer))
        elif trainer.sanity_checking:
            return
        elif name == "on_validation_batch_start" and not self._validates:
            self._validates = True
            for key, metric in self._metrics.items():
                count, left = _count(metric), self._left.get(key, 0)
                # Updates that were not reset are still counted; the others were made in training.
                self._before[key] = (left, count - left) if count >= left else (0, count)
            for twin in self._twins.values():
                twin.reset()
        elif name in ("on_validation_batch_end", "on_train_batch_end"):
            for key, metric in self._metrics.items():
                self._look(key, metric)
            self._given = []
        elif name == "on_validation_end":
            self._validates = False
            self._compare(trainer)
            self._left = {key: _count(metric) for key, metric in self._metrics.items()}

    def _begin(self, module: Any) -> None:
        self._metrics = {key: part for key, part in module.named_modules() if key and _is_metric(part)}
        self._left = {key: _count(metric) for key, metric in self._metrics.items()}
        for key, metric in self._metrics.items():
            self._twins[key] = copy.deepcopy(metric)
            metric.compute = self._computing(key, metric, metric.compute)

    def _computing(self, key: str, metric: Any, compute: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(compute)
        def computing(*args: Any, **kwargs: Any) -> Any:
            earlier, trained = self._before.get(key, (0, 0))
            if self._validates and _count(metric) > earlier + trained > 0:
                self.found["carried"].setdefault(key, [type(metric).__name__, earlier, trained])
            return compute(*args, **kwargs)

        return computing

    def _forwarding(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def forwarding(metric: Any, *args: Any, **kwargs: Any) -> Any:
            value = forward(metric, *args, **kwargs)
            key = next((key for key, own in self._metrics.items() if own is metric), "")
            if self._validates and key in self._twins:
                self._twins[key].update(*args, **kwargs)
                self._given.append((value, key))
            return value

        return forwarding

    def _logging(self, log: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(log)
        def logging(module: Any, name: str, value: Any, *args: Any, **kwargs: Any) -> Any:
            for given, key in self._given:
                if given is value:
                    self._logged[name] = key
            return log(module, name, value, *args, **kwargs)

        return logging

    def _compare(self, trainer: Any) -> None:
        for name, key in self._logged.items():
            twin, logged = self._twins[key], trainer.callback_metrics.get(name)
            if logged is None or not _count(twin) > 1:
                continue
            whole = twin.compute()
            if whole.numel() == 1 and abs(float(whole) - float(logged)) > 1e-3 * max(abs(float(whole)), 1e-3):
                self.found["averaged"].setdefault(key, [type(twin).__name__, name, float(logged), float(whole)])

    def _look(self, key: str, metric: Any) -> None:
        given = getattr(metric, "preds", None)
        if not _CURVES.search(type(metric).__name__) or not isinstance(given, list) or not given:
            return
        values = self._values.setdefault(key, set())
        if len(values) <= 2:
            values |= set(given[-1].flatten()[:64].tolist())
            self._counted[key] = self._counted.get(key, 0) + given[-1].numel()
        if self._counted[key] >= _ENOUGH and values <= {0.0, 1.0}:
            self.found["decisions"][key] = type(metric).__name__
        else:
            self.found["decisions"].pop(key, None)


def _is_metric(part: Any) -> bool:
    """Return whether this is a metric over an epoch; a maximum or a sum over all epochs may accumulate."""
    names = [cls.__module__ for cls in type(part).__mro__]
    return "torchmetrics.metric" in names and not any(name == "torchmetrics.aggregation" for name in names)


def _count(metric: Any) -> int:
    return int(getattr(metric, "_update_count", 0))
