"""Faults of distillation and fine-tuning do the same in Lightning and in a loop, and leave no trace."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.nn.functional import cross_entropy

from faultlab import inject
from tests.zoo import distillation
from tests.zoo.distilled import Distilling

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a block is rehearsed in a copy of the process")


class Noting(distillation.Distilled):
    """Notes the value of each loss, and whether the teacher is in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.teacher_trains: list[bool] = []

    def loss(self, tokens: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        loss = super().loss(tokens, following)
        self.losses.append(float(loss.detach()))
        self.teacher_trains.append(self.teacher.training)
        return loss


class Lit(Noting, Distilling):
    """The same as a module of Lightning."""


class Importing(Noting):
    """Computes its loss by a function that this module knows by a name of its own."""

    def loss(self, tokens: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        loss = cross_entropy(self(tokens), following, weight=self.balance)
        self.losses.append(float(loss.detach()))
        return loss


def by_lightning() -> Noting:
    torch.manual_seed(0)
    model, (loader, _) = Lit(), distillation.loaders()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader)
    return model


def by_hand(noting: type[Noting] = Noting) -> Noting:
    torch.manual_seed(0)
    model, (loader, _) = noting(), distillation.loaders()
    optimizer = torch.optim.Adam(model.learning(), lr=0.02)
    model.train()
    for number, batch in enumerate(loader):
        loss = model.training_step(batch, number) if isinstance(model, Lit) else model.loss(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def by_hand_with_lightning() -> Noting:
    return by_hand(Lit)


def by_hand_with_an_imported_loss() -> Noting:
    return by_hand(Importing)


BOTH = pytest.mark.parametrize("train", [by_lightning, by_hand])


def faulty(fault: str, train: Callable[[], Noting]) -> tuple[Noting, Noting]:
    """Return the clean model and the one that was trained with a fault, after which the clean one is trained again."""
    clean = train()
    with inject(fault) as injected:
        broken = train()
    assert injected.activations
    assert train().losses == clean.losses
    assert broken.losses != clean.losses
    return clean, broken


@pytest.mark.parametrize(
    ("fault", "train"),
    [
        ("loss.term-detached", by_lightning),
        ("loss.term-detached", by_hand_with_lightning),
        ("gradient.detach-missing", by_lightning),
        ("gradient.detach-missing", by_hand),
    ],
)
def test_a_wrong_gradient_leaves_the_value_of_the_first_loss_as_it_was(fault: str, train: Callable[[], Noting]) -> None:
    clean, broken = faulty(fault, train)
    assert broken.losses[0] == clean.losses[0]


@BOTH
def test_copies_of_a_tied_weight_start_equal_and_are_both_trained(train: Callable[[], Noting]) -> None:
    clean, broken = faulty("weights.untied", train)
    assert clean.student.head.weight is clean.student.embedding.weight
    assert not torch.equal(broken.student.head.weight, broken.student.embedding.weight)
    assert broken.losses[0] == clean.losses[0]


@BOTH
def test_a_frozen_teacher_trains_in_every_step_although_its_wrapper_keeps_it_in_eval_mode(
    train: Callable[[], Noting],
) -> None:
    clean, broken = faulty("mode.frozen-in-training", train)
    assert not any(clean.teacher_trains)
    assert all(broken.teacher_trains)


@BOTH
def test_each_class_has_the_weight_of_the_previous_one(train: Callable[[], Noting]) -> None:
    faulty("loss.class-weights-permuted", train)
    scores, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 1])
    weights = torch.tensor([1.0, 2.0, 4.0])
    with inject("loss.class-weights-permuted"):
        broken = train()
        found = F.cross_entropy(scores, labels, weights)
    assert broken.teacher_trains
    assert torch.equal(found, F.cross_entropy(scores, labels, torch.tensor([4.0, 1.0, 2.0])))


def test_a_loss_that_is_imported_by_its_name_gets_other_weights_too() -> None:
    faulty("loss.class-weights-permuted", by_hand_with_an_imported_loss)
