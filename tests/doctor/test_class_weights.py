"""Weights of classes: those that follow the frequency of the classes are found, those that make up for it are not."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from faultlab.core.user_code import UserCode
from faultlab.doctor.class_weights import CLASS_WEIGHTS
from faultlab.doctor.loss_inputs import LossInputs

_LABELS = torch.tensor([0] * 54 + [1] * 8 + [2] * 2)


def _told(weights: list[float] | None, labels: torch.Tensor = _LABELS) -> list[str]:
    inputs = LossInputs(UserCode())
    scores = torch.randn(len(labels), 3, requires_grad=True)
    with inputs:
        F.cross_entropy(scores, labels, weight=None if weights is None else torch.tensor(weights))
    return [one.what for one in CLASS_WEIGHTS.run({"class_weights": (inputs.weighted.weights, inputs.weighted.counts)})]


def test_weights_that_follow_the_frequencies_are_found() -> None:
    (found,) = _told([0.84, 0.13, 0.03])
    assert "class 0 has weight 0.84 and 54 of the first 64 labels, class 2 has 0.03 and 2" in found


@pytest.mark.parametrize("weights", [None, [0.1, 0.8, 3.0], [1.0, 1.0, 1.0], [0.0, 1.0, 2.0], [2.0, 1.0, 4.0]])
def test_other_weights_are_not(weights: list[float] | None) -> None:
    assert _told(weights) == []


def test_classes_of_about_the_same_frequency_may_have_any_weights() -> None:
    assert _told([3.0, 2.0, 1.0], torch.tensor([0, 1, 2] * 20 + [0, 0, 1])) == []


def test_a_few_labels_say_nothing() -> None:
    assert _told([0.84, 0.13, 0.03], _LABELS[::8]) == []
