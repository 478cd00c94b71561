"""LossInputs: what it detects in the functions that a loss was computed with, and what it allows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from faultlab.guards import Alarm, LossInputs, watch
from tests.guards.rig import points

Loss = Callable[[Tensor, Tensor], Tensor]


def check_of(loss: Loss, outputs: int = 3, compiled: bool = False) -> str:
    """Train a layer with this loss and return the check that fails, empty if none does."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, outputs))
    loader = DataLoader(points(), batch_size=16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    try:
        with watch(model, optimizer, guards=LossInputs(), loader=loader):
            for inputs, labels in loader:
                optimizer.zero_grad()
                loss(model(inputs), labels).backward()
                optimizer.step()
    except Alarm as alarm:
        return alarm.check
    return ""


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        (lambda z, y: F.cross_entropy(z.softmax(1), y), 3),
        (lambda z, y: nn.CrossEntropyLoss(label_smoothing=0.1)(torch.softmax(z, dim=-1), y), 3),
        (lambda z, y: 0.5 * F.cross_entropy(z.softmax(1).clone().view(-1, 3), y) + z.square().mean(), 3),
        (lambda z, y: F.nll_loss(F.log_softmax(F.softmax(z, 1), 1), y), 3),
        (lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(1).sigmoid(), y.float()), 1),
        (
            lambda z, y: F.binary_cross_entropy_with_logits(
                torch.sigmoid(z).squeeze(1), y.float(), reduction="none"
            ).mean(),
            1,
        ),
    ],
)
def test_probabilities_in_a_loss_that_takes_logits_are_detected(loss: Loss, outputs: int) -> None:
    assert check_of(loss, outputs) == "normalized-twice"


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    "loss",
    [
        lambda z, y: ((z - y) ** 2).mean(),
        lambda z, y: (y - z).abs().mean(),
        lambda z, y: (z.squeeze(1) - y.view(-1, 1)).square().mean(),
        lambda z, y: F.mse_loss(z, y.float()),
        lambda z, y: F.smooth_l1_loss(z, y.float()),
    ],
)
def test_residuals_of_each_pair_of_samples_are_detected(loss: Loss) -> None:
    assert check_of(loss, 1) == "pairwise"


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        (lambda z, y: F.cross_entropy(z, y), 3),
        (lambda z, y: F.cross_entropy(z.softmax(0), y), 3),
        (lambda z, y: F.cross_entropy(5 * z.softmax(1), y), 3),
        (lambda z, y: F.nll_loss(z.softmax(1).log(), y), 3),
        (lambda z, y: F.kl_div(z.log_softmax(1), z.detach().softmax(1), reduction="batchmean"), 3),
        (lambda z, y: F.binary_cross_entropy(z.sigmoid().squeeze(1), y.float()), 1),
        (lambda z, y: F.binary_cross_entropy_with_logits(z.tanh().squeeze(1), y.float()), 1),
        (lambda z, y: F.mse_loss(z.squeeze(1), y.float()), 1),
        (lambda z, y: (z - y[:, None]).square().mean(), 3),
        (lambda z, y: (z - z.T).square().mean(), 1),
        (lambda z, y: 2 * (z - y[None].float()).abs().mean() - (z - z.T).abs().mean(), 1),
        (lambda z, y: (z.squeeze(1)[:, None] - y).abs().mean(), 1),
        (lambda z, y: (z - y).logsumexp(1).mean(), 1),
        (lambda z, y: (z @ z.T - torch.eye(len(z))).square().mean(), 3),
    ],
)
def test_other_losses_are_allowed(loss: Loss, outputs: int) -> None:
    assert check_of(loss, outputs) == ""
