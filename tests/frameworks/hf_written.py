"""Trainings by the Trainer of transformers, as users write them, for the tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from faultlab import guards


class Points(Dataset):
    """Points, each with the class of its side of a line."""

    def __init__(self, count: int, seed: int) -> None:
        self.points = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
        self.labels = (self.points[:, 0] > self.points[:, 1]).long()

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"points": self.points[index], "labels": self.labels[index]}


class Net(nn.Module):
    """Computes its own loss, as the models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, points: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.head(torch.relu(self.hidden(points)))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class FiniteWeights(TrainerCallback):
    """Raises at weights that are not finite."""

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
            raise ArithmeticError("the weights are not finite")


class SmallGradients(TrainerCallback):
    """Ends the training at gradients that are too large."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        grown = any(p.grad is not None and p.grad.abs().max() > 1e3 for p in model.parameters())
        control.should_training_stop |= grown


class Repeated(Trainer):
    """Computes the loss by a method of its own."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        return (loss, outputs) if return_outputs else loss


def trainer(callbacks: Any = (), cls: type[Trainer] = Trainer, **options: Any) -> Trainer:
    settings = {
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 32,
        "num_train_epochs": 2,
        "learning_rate": 0.05,
        "logging_steps": 1,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        **options,
    }
    arguments = TrainingArguments("out", report_to="none", use_cpu=True, **settings)
    return cls(Net(), arguments, train_dataset=Points(64, 0), eval_dataset=Points(48, 1), callbacks=list(callbacks))


def main() -> None:
    trainer().train()


def accumulating() -> None:
    trainer(gradient_accumulation_steps=4).train()


def with_own_loss() -> None:
    trainer(cls=Repeated, eval_strategy="steps", eval_steps=5).train()


def guarded() -> None:
    trainer([FiniteWeights(), SmallGradients()], max_grad_norm=0.0).train()


def watched() -> None:
    trainer([guards.hf()]).train()


def saving() -> dict[str, float]:
    made = trainer(save_strategy="epoch", load_best_model_at_end=True, metric_for_best_model="eval_loss")
    made.train()
    return dict(made.evaluate())


def continuing(resume: bool = False) -> None:
    trainer(save_strategy="epoch", num_train_epochs=4).train(resume_from_checkpoint=resume)
