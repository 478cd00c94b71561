"""The guard that checks training and eval modes, and that gradients are enabled in training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace, packages
from faultlab.guards.support.training_view import TrainingView


class Modes(Guard):
    """A guard against training in eval mode, validation in training mode, and disabled gradients in training.

    It judges the module itself, or all of its layers together. Parts in eval mode on purpose (frozen backbones,
    teachers) are allowed, and so is any mode in validation if the module overrides `on_validation_model_eval`.

    Args:
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "eval-before-training": "the module is in eval mode when training starts",
        "eval-in-training": "the module is in eval mode while it is trained",
        "training-in-validation": "the module is in training mode while it is validated",
        "grad-disabled": "gradients are disabled in a training step",
    }
    causes = {
        "eval-before-training": "eval mode, training",
        "eval-in-training": "eval mode, training, dropout, batchnorm, statistics, callback, hook",
        "training-in-validation": "training mode, dropout, batchnorm, validation_step",
        "grad-disabled": "grad mode, gradients, loss",
    }

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._layers: list[nn.Module] = []
        self._trained = True
        self._own_mode = False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_layers": []}

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._layers = [m for m in pl_module.modules() if m.training and m is not pl_module and not _frozen(m)]
        # If the whole module is in eval mode already, that is raised once and there is nothing to compare.
        self._trained = bool(pl_module.training)
        if not pl_module.training:
            differing = [type(m).__name__ for m in pl_module.modules() if isinstance(m, _DIFFERENT) and not m.training]
            found = (
                f", with {len(differing)} layers (the first a {differing[0]}) that work differently then"
                if differing
                else ""
            )
            self.alarm(
                "eval-before-training",
                f"training starts with the module in eval mode{found}",
                self.terms.either(
                    "Call train() on the module before fit, since the Trainer does not change the mode.",
                    "Call model.train() before the loop.",
                ),
            )

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._judge_training(pl_module, batch_idx)

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        self._judge_training(pl_module, None)
        if not torch.is_grad_enabled():
            self.alarm(
                "grad-disabled",
                "gradients are disabled (grad mode is off) when the loss of a training step is about to be "
                "differentiated",
                "Look for set_grad_enabled(False) in the step, and use `with torch.no_grad():` instead, which ends "
                "by itself.",
            )

    @pace.sparse
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._judge_training(pl_module, batch_idx)

    def on_validation_start(self, trainer: TrainingView, pl_module: Any) -> None:
        hook = "on_validation_model_eval"
        stock = next((c for c in type(pl_module).__mro__ if packages.stock(c) and hook in vars(c)), None)
        self._own_mode = getattr(type(pl_module), hook, None) is not getattr(stock, hook, None)

    def on_validation_batch_end(self, trainer: TrainingView, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        if pl_module.training and not self._own_mode:
            self.alarm(
                "training-in-validation",
                "the module is in training mode during validation: dropout drops values, and BatchNorm learns from "
                "the validation data",
                f"Look for train() in {self.terms.within_validation}.",
            )

    def _judge_training(self, pl_module: Any, batch_idx: int | None) -> None:
        if pl_module.training:
            layers = self._layers
            if not layers or layers[0].training or any(layer.training for layer in layers):
                return
        elif not self._trained:
            return
        where = "a training step" if batch_idx is None else self.batch_name(batch_idx)
        self.alarm(
            "eval-in-training",
            f"the module is in eval mode in {where}: dropout drops nothing, and BatchNorm learns no statistics",
            "Look for eval() without a later train() in the step or in a hook, also of a callback.",
        )


_DIFFERENT = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


def _frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
