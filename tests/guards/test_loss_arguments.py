"""LossArguments: what torch's losses are given, and what they may be given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from faultlab.guards import Alarm, LossArguments, watch
from tests.guards.rig import Healthy, alarm_of, fit, points

Loss = Callable[[Tensor, Tensor], Tensor]
KL = nn.KLDivLoss(reduction="batchmean")
UNIFORM = torch.full((16, 3), 1 / 3)
LENGTHS = torch.full((16,), 4), torch.full((16,), 2)


def check_of(loss: Loss, outputs: int = 3) -> str:
    """Train a layer with this loss and return the check that fails, empty if none does."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, outputs))
    loader = DataLoader(points(), batch_size=16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    before = F.kl_div, F.nll_loss
    try:
        with watch(model, optimizer, guards=(guard := LossArguments()), loader=loader):
            for inputs, labels in loader:
                optimizer.zero_grad()
                loss(model(inputs), labels).backward()
                optimizer.step()
    except Alarm as alarm:
        return alarm.check
    finally:
        assert (F.kl_div, F.nll_loss) == before
    assert guard.looked
    return ""


def spoken(z: Tensor) -> Tensor:
    """Return scores of three letters at four times, for CTC."""
    return z.view(len(z), 4, 3).transpose(0, 1)


def ctc(scores: Tensor, y: Tensor) -> Tensor:
    return F.ctc_loss(scores, torch.stack([y + 1, 2 - y], 1), *LENGTHS)


@pytest.mark.parametrize(
    ("loss", "outputs", "check"),
    [
        (lambda z, y: F.kl_div(z.softmax(1), UNIFORM, reduction="batchmean"), 3, "logarithms"),
        (lambda z, y: KL(F.softmax(z, dim=-1), UNIFORM), 3, "logarithms"),
        (lambda z, y: F.kl_div(z.log_softmax(1), UNIFORM * 1.0 + z.detach() * 0, log_target=True), 3, ""),
        (
            lambda z, y: F.kl_div(z.log_softmax(1), z.detach().flip(1).softmax(1), log_target=True),
            3,
            "logarithms",
        ),
        (lambda z, y: F.nll_loss(z.softmax(1), y), 3, "logarithms"),
        (lambda z, y: nn.NLLLoss()(z, y), 3, "logarithms"),
        (lambda z, y: ctc(spoken(z), y), 12, "logarithms"),
        (lambda z, y: ctc(spoken(z).softmax(2), y), 12, "logarithms"),
        (lambda z, y: F.poisson_nll_loss(z.squeeze(1).exp(), y), 1, "logarithms"),
        (lambda z, y: F.poisson_nll_loss(F.softplus(z).squeeze(1), y), 1, "logarithms"),
        (lambda z, y: F.nll_loss(z.log_softmax(0), y), 3, "wrong-dimension"),
        (lambda z, y: ctc(spoken(z).log_softmax(0), y), 12, "wrong-dimension"),
        (lambda z, y: F.cross_entropy(z.softmax(1) + 1e-8, y), 3, "probabilities"),
        (lambda z, y: F.cross_entropy((z.softmax(1) + z.flip(1).softmax(1)) / 2, y), 3, "probabilities"),
        (lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(1), y + 1.0), 1, "targets"),
        (lambda z, y: nn.BCEWithLogitsLoss()(z.squeeze(1), 2.0 * y - 1), 1, "targets"),
        (lambda z, y: F.soft_margin_loss(z.squeeze(1), y.float()), 1, "signs"),
        (lambda z, y: F.hinge_embedding_loss(z.squeeze(1), y.float()), 1, "signs"),
        (lambda z, y: nn.CosineEmbeddingLoss()(z, z.detach().flip(0), y), 3, "signs"),
        (lambda z, y: F.margin_ranking_loss(z[:, 0], z[:, 1], y), 3, "signs"),
    ],
)
def test_a_loss_of_what_it_is_not_defined_for_is_detected(loss: Loss, outputs: int, check: str) -> None:
    assert check_of(loss, outputs) == check


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        (lambda z, y: F.cross_entropy(z, y), 3),
        (lambda z, y: F.cross_entropy(z.log_softmax(1), y), 3),
        (lambda z, y: F.cross_entropy(z, F.one_hot(y, 3) * 0.9 + 0.1 / 3), 3),
        (lambda z, y: F.cross_entropy(z.sigmoid(), y), 3),
        (lambda z, y: F.cross_entropy(F.normalize(z, dim=1), y), 3),
        (lambda z, y: F.nll_loss(z.log_softmax(1), y), 3),
        (lambda z, y: F.nll_loss((z.softmax(1) + 1e-6).log(), y), 3),
        (lambda z, y: F.nll_loss(z.log_softmax(1) * (y.unsqueeze(1) - 0.5), y), 3),
        (lambda z, y: F.nll_loss(z.view(len(z), 3, 2).log_softmax(1), torch.stack([y, y], 1)), 6),
        (lambda z, y: F.kl_div(z.log_softmax(1), UNIFORM, reduction="sum"), 3),
        (lambda z, y: F.kl_div(z.log_softmax(1), z.detach().log_softmax(1), log_target=True), 3),
        (lambda z, y: F.kl_div(z.log_softmax(1), z.detach().flip(0).softmax(1)), 3),
        (lambda z, y: ctc(spoken(z).log_softmax(2), y), 12),
        (lambda z, y: F.poisson_nll_loss(z.squeeze(1), y), 1),
        (lambda z, y: F.poisson_nll_loss(z.squeeze(1).exp(), y, log_input=False), 1),
        (lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(1), y.float()), 1),
        (lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(1), y * 0.9 + 0.05), 1),
        (lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(1), y * 1.2), 1),
        (
            lambda z, y: (
                F.binary_cross_entropy_with_logits(z.squeeze(1), 2.0 * y - 1, reduction="none") * (y > 0)
            ).mean(),
            1,
        ),
        (lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(1), 2.0 * y - 1, weight=(y > 0).float()), 1),
        (lambda z, y: F.soft_margin_loss(z.squeeze(1), 2.0 * y - 1), 1),
        (lambda z, y: F.cosine_embedding_loss(z, z.detach().flip(0), torch.ones(len(z))), 3),
    ],
)
def test_losses_of_what_they_are_defined_for_are_allowed(loss: Loss, outputs: int) -> None:
    assert check_of(loss, outputs) == ""


def test_a_loss_that_is_only_evaluated_is_not_judged() -> None:
    def loss(z: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            F.nll_loss(z.softmax(1), y)
        return F.cross_entropy(z, y)

    assert check_of(loss) == ""


class Divergent(Healthy):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.kl_div(self(batch[0]).softmax(1), F.one_hot(batch[1], 2).float(), reduction="batchmean")


def test_a_training_by_lightning_is_judged_in_its_second_step() -> None:
    alarm = alarm_of(LossArguments(), module := Divergent())
    assert alarm is not None
    assert alarm.check == "logarithms"
    assert module.global_step == 1
    assert "softmax" in alarm.remedy
    fit(LossArguments())
