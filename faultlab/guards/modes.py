"""The module trains in training mode, is validated in evaluation mode, and gradients are on when they are needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support.training_view import TrainingView


class Modes(Guard):
    """Detects training in eval mode, validation in training mode, and gradients that are switched off in training.

    What counts is the module itself, or all of its layers together. Parts that are in eval mode on purpose (frozen
    backbones, teachers) are let pass, as is a validation whose module has an `on_validation_model_eval` of its own.
    """

    checks = {
        "eval-before-training": "the module is in eval mode when training begins",
        "eval-in-training": "the module is in eval mode while it is trained",
        "training-in-validation": "the module is in training mode while it is validated",
        "grad-disabled": "gradients are switched off in a training step",
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
        # Nothing to compare with where the whole is in eval mode already, which is said once.
        self._trained = bool(pl_module.training)
        if not pl_module.training:
            differing = [type(m).__name__ for m in pl_module.modules() if isinstance(m, _DIFFERENT) and not m.training]
            found = (
                f", with {len(differing)} layers (the first a {differing[0]}) that work otherwise then"
                if differing
                else ""
            )
            self.alarm(
                "eval-before-training",
                f"training begins and the module is in eval mode{found}",
                "Call train() on what is to be trained: Lightning leaves modules in the mode in which it finds them.",
            )

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._judge_training(pl_module, f"batch {batch_idx}")

    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        self._judge_training(pl_module, "a training step")
        if not torch.is_grad_enabled():
            self.alarm(
                "grad-disabled",
                "gradients are disabled (grad mode is off) when the loss of a training step is to be propagated back",
                "Look for set_grad_enabled(False) in the step; `with torch.no_grad():` can't be left behind.",
            )

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._judge_training(pl_module, f"batch {batch_idx}")

    def on_validation_start(self, trainer: TrainingView, pl_module: Any) -> None:
        hook = "on_validation_model_eval"
        stock = next(
            (c for c in type(pl_module).__mro__ if c.__module__.startswith(_PACKAGES) and hook in vars(c)), None
        )
        self._own_mode = getattr(type(pl_module), hook, None) is not getattr(stock, hook, None)

    def on_validation_batch_end(self, trainer: TrainingView, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        if pl_module.training and not self._own_mode:
            self.alarm(
                "training-in-validation",
                "the module is in training mode during validation: dropout drops, and BatchNorm learns from the "
                "validation data",
                "Look for train() in validation_step or in what it calls.",
            )

    def _judge_training(self, pl_module: Any, where: str) -> None:
        if pl_module.training:
            layers = self._layers
            if not layers or layers[0].training or any(layer.training for layer in layers):
                return
        elif not self._trained:
            return
        self.alarm(
            "eval-in-training",
            f"the module is in eval mode in {where}: dropout drops nothing, BatchNorm learns no statistics",
            "Look for eval() in the step or in a hook (also of a callback) that has no train() after it.",
        )


_PACKAGES = ("pytorch_lightning.", "lightning.")
_DIFFERENT = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


def _frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
