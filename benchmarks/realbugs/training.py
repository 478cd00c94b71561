"""The parts of a training, as a bug's script builds them, and the way to run them to their end.

A script defines ``build() -> Parts``, for a loop of its own ``train(parts)``, and ``measure(parts) -> float``, which
grows as the training gets worse.
"""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn


@dataclass
class Parts:
    """What a training is made of.

    ``loss`` computes the objective of the training for one batch, for tools that look at a single batch. ``classes`` is
    the number of classes for tools that want to know it. ``kept`` is for what a script passes on to its ``measure``.
    """

    model: Any
    loader: Any
    loss: Callable[[Any, Any], Any]
    validation: Any = None
    classes: int | None = None
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass
class Loop(Parts):
    """A loop that is written by hand: the script's ``train`` runs it."""

    optimizer: Any = None


@dataclass
class Fit(Parts):
    """A training by Lightning's Trainer with the given arguments; ``data`` replaces the loaders if it is given."""

    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: list[Any] = field(default_factory=list)
    data: Any = None


@dataclass
class Tuning(Parts):
    """A training by the Trainer of transformers: its class, its arguments and those of TrainingArguments."""

    trainer_class: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def seed_all(seed: int) -> None:
    """Seed the generators that scripts draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def step_loss(module: Any, batch: Any) -> Any:
    """Return the loss of a LightningModule's training step outside of a Trainer."""
    with warnings.catch_warnings():
        # `self.log` warns where there is no Trainer.
        warnings.simplefilter("ignore")
        output = module.training_step(batch, 0)
    return output["loss"] if isinstance(output, dict) else output


def fit(parts: Fit, callbacks: Sequence[Any] = (), **more: Any) -> None:
    """Run a training by Lightning to its end, with further callbacks and arguments of the Trainer."""
    import pytorch_lightning as pl

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    arguments: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(one, pl.callbacks.ModelCheckpoint) for one in parts.callbacks),
        **parts.trainer,
        **more,
    }
    if arguments.get("fast_dev_run"):
        arguments["enable_checkpointing"] = False
    trainer = pl.Trainer(**arguments, callbacks=[*parts.callbacks, *callbacks])
    parts.kept["trainer"] = trainer
    if parts.data is not None:
        trainer.fit(parts.model, datamodule=parts.data)
    else:
        trainer.fit(parts.model, parts.loader, parts.validation)


def before_steps(call: Callable[[Any], None]) -> Any:
    """Return a callback of Lightning that calls a function with the optimizer before each step."""
    import pytorch_lightning as pl

    class BeforeSteps(pl.Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            call(optimizer)

    return BeforeSteps()


def tune(parts: Tuning, callbacks: Sequence[Any] = ()) -> None:
    """Run a training by the Trainer of transformers to its end, with further callbacks."""
    import tempfile

    import transformers

    transformers.logging.set_verbosity_error()
    settings = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "save_strategy": "no", **parts.settings}
    arguments = transformers.TrainingArguments(output_dir=tempfile.mkdtemp(), **settings)
    trainer = (parts.trainer_class or transformers.Trainer)(
        parts.model, arguments, **parts.arguments, callbacks=list(callbacks)
    )
    trainer.remove_callback(transformers.PrinterCallback)
    parts.kept["trainer"] = trainer
    trainer.train()


def run(script: Any, parts: Parts, callbacks: Sequence[Any] = (), **more: Any) -> None:
    """Run a training to its end; callbacks and further arguments are for trainings by a Trainer."""
    if isinstance(parts, Fit):
        fit(parts, callbacks, **more)
    elif isinstance(parts, Tuning):
        tune(parts, callbacks)
    else:
        script.train(parts)


def evaluate(model: nn.Module, loader: Any, score: Callable[[Any, Any], Any]) -> float:
    """Return the mean of a score per sample over a loader's batches of inputs and labels, in eval mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for inputs, labels in loader:
            total += float(score(model(inputs), labels)) * len(labels)
            count += len(labels)
    for module, mode in modes:
        module.training = mode
    return total / count


def error_rate(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the share of wrong classes."""
    return (outputs.argmax(-1) != labels).float().mean()


def optimizer_of(parts: Parts, model: Any = None) -> Any:
    """Return the optimizer of a training, or one like it for a copy of its model."""
    of = parts.model if model is None else model
    if isinstance(parts, Fit):
        made = of.configure_optimizers()
        while isinstance(made, list | tuple):
            made = made[0]
        return made["optimizer"] if isinstance(made, dict) else made
    if isinstance(parts, Tuning):
        return torch.optim.AdamW(of.parameters(), lr=parts.settings["learning_rate"])
    if model is None:
        return parts.optimizer  # type: ignore[attr-defined]
    ours = {id(one): theirs for one, theirs in zip(parts.model.parameters(), model.parameters())}
    groups = [
        {**group, "params": [ours[id(one)] for one in group["params"] if id(one) in ours]}
        for group in parts.optimizer.param_groups  # type: ignore[attr-defined]
    ]
    return type(parts.optimizer)(groups)  # type: ignore[attr-defined]
