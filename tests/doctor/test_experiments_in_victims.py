"""The changes that experiments make, one at a time on a small training; and what is measured beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faultlab.core.patching import Patches
from faultlab.doctor.experiments.changes import Applied
from faultlab.doctor.experiments.plain_loss import PlainLoss
from faultlab.doctor.loops import repeated
from faultlab.doctor.loops.batches_used import BatchesUsed

_X = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
_Y = _X[:, :3].argmax(1)
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _trained(
    changes: dict[str, Any],
    loss: Loss = F.cross_entropy,
    make: Callable[..., Any] | None = None,
    drop: float = 0.0,
    scale: float = 1.0,
    normalized: bool = False,
) -> tuple[list[float], Applied]:
    """Train a classifier with changes, and return its losses."""
    applied, losses = Applied(changes), []
    with Patches() as patches:
        applied.attach(patches)
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(6, 16),
            nn.BatchNorm1d(16) if normalized else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(drop),
            nn.Linear(16, 3),
        )
        with torch.no_grad():
            model[0].weight.mul_(scale)
        optimizer = (make or (lambda weights: torch.optim.SGD(weights, lr=0.1)))(model.parameters())
        for _ in range(4):
            for x, y in DataLoader(TensorDataset(_X, _Y), batch_size=20):
                value = loss(model(x), y)
                optimizer.zero_grad()
                value.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.01)
                optimizer.step()
                losses.append(float(value.detach()))
    return losses, applied


@pytest.mark.parametrize(
    ("change", "made"),
    [
        ({"rate": 10.0}, {}),
        ({"adamw": 0.01}, {}),
        ({"clipping": True}, {}),
        ({"initial": True}, {"scale": 10.0}),
        ({"order": True}, {}),
        ({"seed": 1}, {}),
        ({"standardized": True}, {}),
        ({"one batch": True}, {}),
        ({"dropout": True}, {"drop": 0.5}),
        ({"decay": True}, {"make": lambda weights: torch.optim.SGD(weights, lr=0.1, weight_decay=1.0)}),
    ],
    ids=lambda value: "-".join(value) or "as it is",
)
def test_a_change_acts_and_leaves_nothing_behind(change: dict[str, Any], made: dict[str, Any]) -> None:
    before, _ = _trained({}, **made)
    changed, applied = _trained(change, **made)
    assert applied.acted == {name: pytest.approx(12, abs=12) for name in change}
    assert all(applied.acted.values())
    assert changed != before
    assert _trained({}, **made)[0] == before


@pytest.mark.parametrize("normalized", [False, True])
def test_other_weights_of_the_same_distribution_are_no_other_initial_weights(normalized: bool) -> None:
    changed, applied = _trained({"initial": True}, normalized=normalized)
    assert applied.acted == {"initial": 0}
    assert changed != _trained({}, normalized=normalized)[0]


@pytest.mark.parametrize("name", ["dropout", "decay", "schedule", "precision"])
def test_a_change_of_a_part_that_is_not_there_changes_nothing(name: str) -> None:
    changed, applied = _trained({name: True})
    assert applied.acted == {name: 0}
    assert changed == _trained({})[0]


def test_gradients_that_are_cleared_anyway_may_be_cleared_again() -> None:
    assert _trained({"cleared": True})[0] == _trained({})[0]


def test_the_plain_loss_is_measured_beside_another_one() -> None:
    losses, applied = _trained({}, loss=lambda scores, labels: -F.cross_entropy(scores, labels))
    found = applied.plain.found()
    assert found["losses"] == pytest.approx([-one for one in losses])
    assert found["guess"] == pytest.approx(1.07, abs=0.05)


def test_the_plain_loss_can_be_trained_with() -> None:
    def negated(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return -F.cross_entropy(scores, labels)

    _, own = _trained({"clipping": True}, loss=negated)
    _, plain = _trained({"clipping": True, "plain loss": True}, loss=negated)
    assert own.plain.losses[-1] > own.plain.losses[0]
    assert plain.plain.losses[-1] < 0.9 * plain.plain.losses[0]


def test_outputs_that_are_no_classes_have_no_plain_loss() -> None:
    plain = PlainLoss()
    with Patches() as patches:
        plain.attach(patches)
        model = nn.Linear(6, 8)
        for x, _ in DataLoader(TensorDataset(_X, _Y), batch_size=20):
            model(x).square().mean().backward()
    assert plain.found() == {"losses": [], "guess": None}


def test_a_recurrent_layer_over_the_samples_mixes_them() -> None:
    class Net(nn.Module):
        def __init__(self, batch_first: bool) -> None:
            super().__init__()
            self.layer = nn.RNN(4, 8, batch_first=batch_first)

        def forward(self, x: torch.Tensor) -> Any:
            return self.layer(x)[0][:, -1]

    batches = [((torch.randn(6, 3, 4),), {}) for _ in range(2)]
    assert repeated.mixes_samples(Net(False), batches)
    assert not repeated.mixes_samples(Net(True), batches)
    assert not repeated.mixes_samples(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.5)), batches)


@pytest.mark.parametrize(("kept", "used"), [(False, 1), (True, 3)])
def test_the_batches_that_a_loss_comes_from_are_counted(kept: bool, used: int) -> None:
    model, followed = nn.Linear(6, 3), BatchesUsed()
    losses = []
    for x, y in DataLoader(TensorDataset(_X, _Y), batch_size=20):
        followed.delivered()
        followed.called(scores := model(x))
        losses.append(F.cross_entropy(scores, y))
    followed.learnt(torch.stack(losses).sum() if kept else losses[-1])
    assert followed.found == [(3, 3, used)]
