"""FrozenStatistics: the running statistics of a frozen network, and those that may move."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from faultlab.guards import FrozenStatistics
from tests.guards.rig import Healthy, alarm_of, fit


class Transfer(Healthy):
    """A head on a frozen body, which was trained on inputs with ``scale`` times the spread of these."""

    evaluates = False

    def __init__(self, scale: float = 4.0, learnt: bool = True) -> None:
        super().__init__()
        norm: Any = self.body[1]
        if learnt:
            with torch.no_grad():
                for _ in range(60):
                    norm(self.body[0](scale * torch.randn(64, 4)))
        self.body.requires_grad_(False)

    def on_train_epoch_start(self) -> None:
        if self.evaluates:
            self.body.eval()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.head.parameters(), lr=0.02)


class Fixed(Transfer):
    evaluates = True


class Teacher(Transfer):
    """Has a body that follows another one, as a momentum encoder does."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        with torch.no_grad():
            for parameter in self.body.parameters():
                parameter.mul_(0.99)
        return super().training_step(batch, batch_idx)  # type: ignore[no-any-return]


class Normalising(Transfer):
    """Trains the affine part of the frozen body's normalization, which the statistics belong to."""

    def __init__(self) -> None:
        super().__init__()
        self.body[1].requires_grad_(True)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=0.02)


class Alternating(Transfer):
    """Has a part that rests at the moment, but is in an optimizer."""

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.02)


def test_a_frozen_body_in_training_mode_is_detected() -> None:
    alarm = alarm_of(FrozenStatistics(), Transfer())
    assert alarm is not None
    assert alarm.check == "drift"
    assert "body.1" in alarm.found


def test_a_frozen_layer_norms_nothing() -> None:
    module = Transfer()
    module.body[1] = nn.LayerNorm(8).requires_grad_(False)
    fit(FrozenStatistics(), module)


@pytest.mark.parametrize(
    "make",
    [
        Fixed,
        Teacher,
        Normalising,
        Alternating,
        lambda: Transfer(scale=1.0),
        lambda: Transfer(learnt=False),
        Healthy,
    ],
)
def test_statistics_that_stay_or_are_to_move_are_allowed(make: Any) -> None:
    torch.manual_seed(0)
    fit(FrozenStatistics(), make())
