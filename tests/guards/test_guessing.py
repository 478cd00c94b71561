"""The labels that a loss is the cross-entropy of, identified by its graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faultlab.guards.support import guessing
from faultlab.guards.support.better_side import better_side

CLASSES = torch.tensor([0, 1, 2, 1] * 4)
SCORES = torch.randn(16, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
WEIGHT = nn.Parameter(torch.ones(3))


@pytest.mark.parametrize(
    ("loss", "labels", "fits"),
    [
        (F.cross_entropy(SCORES, CLASSES), CLASSES, True),
        (F.cross_entropy(SCORES, CLASSES, label_smoothing=0.1), CLASSES, True),
        (F.cross_entropy(SCORES, CLASSES, reduction="none").mean() / 4, CLASSES, True),
        (-SCORES.log_softmax(1).gather(1, CLASSES[:, None]).mean(), CLASSES, True),
        (F.cross_entropy(SCORES.view(2, 8, 3).transpose(1, 2), CLASSES.view(2, 8)), CLASSES.view(2, 8), True),
        (F.binary_cross_entropy_with_logits(SCORES[:, 0], CLASSES.clamp(max=1).float()), CLASSES, True),
        (F.cross_entropy(SCORES @ SCORES.T, torch.arange(16)), CLASSES, False),
        (F.cross_entropy(SCORES, CLASSES) + WEIGHT.square().sum(), CLASSES, False),
        (F.cross_entropy(torch.cat([SCORES, SCORES]), CLASSES.repeat(2)), CLASSES, False),
        (F.cross_entropy(SCORES, CLASSES), CLASSES + 1, False),
        (F.mse_loss(SCORES[:, 0], CLASSES.float()), CLASSES, False),
        (torch.tensor(1.0), CLASSES, False),
    ],
)
def test_a_cross_entropy_is_known_by_the_scores_that_it_is_made_of(loss: Any, labels: Any, fits: bool) -> None:
    assert guessing.explained(loss, [labels]) == ({0} if fits else set())


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("val_loss", "min"),
        ("val/accuracy", "max"),
        ("val_return", "max"),
        ("val_ndcg", "max"),
        ("val_log_likelihood", "max"),
        ("val_neg_log_likelihood", ""),
        ("val_accuracy_loss", ""),
        ("val_elbo", ""),
        ("val_score", ""),
    ],
)
def test_the_better_side_follows_from_a_single_word(name: str, side: str) -> None:
    assert better_side(name) == side
