"""The independent evaluation of a run's final weights: with its own Trainer and the fault removed.

Metrics that were logged while a fault acted are not trustworthy: a broken loss falsifies its own curve. Neither is code
that the fault has changed: what computes the metric is restored, or has to be left out.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from faultlab.core.patching import Patches
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.lightning import namespaces, private_api, ranks
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.frameworks.lightning.recorder import recorder
from faultlab.frameworks.lightning.seams.backward import wrap_held_optimizers
from faultlab.frameworks.lightning.target import SILENT, Built
from faultlab.injection.hooks import Site

LOSS = "loss"

_ARGUMENTS: dict[str, Any] = {
    **SILENT,
    "fast_dev_run": False,
    "overfit_batches": 0.0,
    "callbacks": None,
}
_BATCHES = 8


def evaluate(built: Built, validates: bool, arguments: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of the target's own validation; its training loss if that logs nothing.

    ``arguments`` are the Trainer's arguments besides the target's own.
    """
    arguments = ranks.for_this_process({**built.trainer_arguments, **_ARGUMENTS, **arguments}, built.ranks)
    if built.ranks > 1:
        ranks.stay_alone(built.module)
    _reset_metrics(built.module)
    return (_validate(built, arguments) if validates else {}) or _training_loss(built, arguments)


def _reset_metrics(module: Any) -> None:
    """Reset metrics that accumulated values while the fault acted."""
    for part in module.modules():
        if any(cls.__module__.startswith("torchmetrics.") for cls in type(part).__mro__) and hasattr(part, "reset"):
            with contextlib.suppress(Exception):
                part.reset()


def _validate(built: Built, arguments: dict[str, Any]) -> dict[str, float]:
    # From the target's own data: the data of the training's Trainer may be the fault's.
    data_module = built.fit.get("datamodule")
    data = {"dataloaders": built.fit.get("val_dataloaders")} if data_module is None else {"datamodule": data_module}
    found = built.trainer_class(**arguments).validate(built.module, verbose=False, **data)
    return {str(name): float(value) for metrics in found for name, value in metrics.items()}


def _training_loss(built: Built, arguments: dict[str, Any]) -> dict[str, float]:
    """Return the mean loss over the first training batches, by a training whose optimizers never step.

    This works for any training step, with manual optimization too, and leaves the parameters unchanged.
    """
    trajectory = Trajectory()
    short = {"max_epochs": 1, "max_steps": -1, "limit_train_batches": _BATCHES, "limit_val_batches": 0}
    watching = [recorder(built.namespace, trajectory, clock := LightningClock())]
    with Patches() as patches:
        clock.attach(patches)
        _without_updates(patches)
        wrap_held_optimizers(patches, clock, Site(type(built.module), built.module), lambda _, step: _evaluating)
        trainer = built.trainer_class(**{**arguments, **short, "num_sanity_val_steps": 0, "callbacks": watching})
        trainer.fit(built.module, **built.fit)
    losses = [loss for _, loss in trajectory.losses]
    return {LOSS: statistics.fmean(losses)} if losses else {}


def _evaluating(closure: Any = None, **_: Any) -> Any:
    return closure() if closure is not None else None


def _without_updates(patches: Patches) -> None:
    def make(step: Callable[..., Any]) -> Callable[..., Any]:
        return lambda optimizer, closure=None, **kwargs: _evaluating(closure)

    for namespace in namespaces.loaded():
        patches.wrap(private_api.part(namespace, private_api.OPTIMIZER), "step", make)
