"""What the doctor says of the parts of a loss, by what it sees of one step; with quiet twins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faultlab.core.user_code import UserCode
from faultlab.doctor.loss_inputs import LossInputs
from faultlab.doctor.made_of import PARTS

_ONES = torch.ones(8, 1)


def _told(act: Callable[[], Any], precision: Any = None, module: nn.Module | None = None, steps: int = 1) -> list[str]:
    inputs = LossInputs(UserCode(folders=(str(Path(__file__).parent),)))
    inputs.terms.asked(precision, module or nn.Identity())
    for _ in range(steps):
        with inputs:
            act()
    return [found.what for found in PARTS.run({"terms": inputs.terms.found})]


def _of_errors(weights: torch.Tensor) -> Callable[[], Any]:
    told = nn.Linear(1, 1)
    return lambda: (told(_ONES) - _ONES).pow(2) * weights


def _of_targets(targets: torch.Tensor, end: nn.Module | None = None) -> Callable[[], Any]:
    told = nn.Sequential(nn.Linear(1, 1), end or nn.Identity())
    return lambda: F.mse_loss(told(_ONES), targets)


def _of_probabilities(targets: torch.Tensor) -> Callable[[], Any]:
    told = nn.Linear(1, 1)
    return lambda: F.binary_cross_entropy_with_logits(told(_ONES), targets)


_SPREAD = torch.linspace(-1, 1, 8)[:, None]


@pytest.mark.parametrize(
    ("ill", "well", "says"),
    [
        (_of_errors(_SPREAD), _of_errors(_SPREAD.abs()), "50 % of them are negative"),
        (_of_targets(_SPREAD + 3000), _of_targets(_SPREAD), "the targets are not normalized"),
        (_of_targets(_SPREAD, nn.Sigmoid()), _of_targets(_SPREAD.abs(), nn.Sigmoid()), "the predictions end in a sig"),
        (_of_probabilities(255 * _ONES), _of_probabilities(_ONES), "takes probabilities from 0 to 1"),
    ],
)
def test_a_part_that_defeats_the_loss_is_told_and_its_twin_is_not(
    ill: Callable[[], Any], well: Callable[[], Any], says: str
) -> None:
    assert [says in what for what in _told(ill)] == [True]
    assert _told(well) == []


def test_a_term_without_a_graph_is_told_unless_it_is_the_same_in_each_step() -> None:
    told, turns = nn.Linear(1, 1), iter(range(1, 9))

    def step(term: Callable[[], torch.Tensor]) -> Callable[[], Any]:
        return lambda: told(_ONES).mean() + term()

    assert ["has no graph" in what for what in _told(step(lambda: torch.tensor(float(next(turns)))), steps=3)] == [True]
    assert _told(step(lambda: torch.tensor(1.0)), steps=3) == []
    assert _told(step(lambda: told.weight.sum()), steps=3) == []


@pytest.mark.parametrize(("precision", "number"), [("16-mixed", 1e4), ("32-true", 1e9)])
def test_a_number_beyond_half_is_told_where_half_is_asked_for(precision: str, number: float) -> None:
    scores, mask = torch.zeros(4), torch.ones(4, dtype=torch.bool)
    assert len(_told(lambda: scores.masked_fill(mask, -1e9), "16-mixed")) == 1
    assert _told(lambda: scores.masked_fill(mask, -number), precision) == []


def test_padding_among_target_words_is_told_unless_it_is_ignored_or_a_class() -> None:
    words, classes = nn.Embedding(12, 4, padding_idx=0), nn.Embedding(99, 4, padding_idx=0)
    logits, targets = torch.zeros(4, 12), torch.tensor([3, 0, 0, 0])
    assert ["75 % of the target tokens are padding" in what for what in _told(
        lambda: F.cross_entropy(logits, targets), module=words
    )] == [True]  # fmt: skip
    assert _told(lambda: F.cross_entropy(logits, targets, ignore_index=0), module=words) == []
    assert _told(lambda: F.cross_entropy(logits, targets), module=classes) == []
