"""Scores of scikit-learn that get predictions and true values in the wrong order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from sklearn import metrics

from faultlab.core.patching import Patches
from faultlab.core.user_code import UserCode
from faultlab.doctor.loops.evaluation import EVALUATION
from faultlab.doctor.loops.scores import Scores

_GENERATOR = torch.Generator().manual_seed(0)
_OUTPUTS = torch.randn(60, 2, generator=_GENERATOR)
_PREDICTED = _OUTPUTS.argmax(1).numpy()
_TRUE = (torch.rand(60, generator=_GENERATOR) > 0.3).long().numpy()
_CODE = UserCode(frozenset({__name__.partition(".")[0]}))


@pytest.fixture
def scores() -> Iterator[Scores]:
    followed = Scores(_CODE)
    with Patches() as patches:
        followed.attach(patches)
        for batch in _OUTPUTS.split(20):
            followed.called(batch, False)
        yield followed


def _told(scores: Scores) -> list[str]:
    (check,) = (one for one in EVALUATION.known if one.name == "order of a score's arguments")
    return [one.what for one in check.run({"exchanged": scores.found})]


@pytest.mark.parametrize("name", ["precision_score", "recall_score", "balanced_accuracy_score", "confusion_matrix"])
def test_predictions_in_place_of_the_true_labels_are_found_and_their_right_order_is_not(
    name: str, scores: Scores
) -> None:
    score: Any = getattr(metrics, name)
    score(_TRUE, _PREDICTED)
    assert _told(scores) == []
    score(_PREDICTED, _TRUE)
    assert [f"{name} gets the model's predictions" in what for what in _told(scores)] == [True]


def test_a_regression_is_compared_by_its_values(scores: Scores) -> None:
    numbers = torch.randn(40, 1, generator=_GENERATOR)
    scores.called(None, True)
    scores.called(numbers, False)
    target = numbers[:, 0].numpy() * 2 + 1
    metrics.r2_score(target, numbers[:, 0].numpy())
    assert _told(scores) == []
    metrics.r2_score(numbers[:, 0].numpy(), target)
    assert len(_told(scores)) == 1


def test_scores_that_do_not_depend_on_the_order_and_those_of_other_values_are_healthy(scores: Scores) -> None:
    metrics.accuracy_score(_PREDICTED, _TRUE)
    metrics.precision_score(_TRUE, 1 - _TRUE)
    metrics.precision_score(_PREDICTED, _PREDICTED)
    assert _told(scores) == []


def test_the_functions_are_as_they_were_afterwards() -> None:
    before = metrics.precision_score
    with Patches() as patches:
        followed = Scores(_CODE)
        followed.attach(patches)
        followed.called(_OUTPUTS, False)
        assert metrics.precision_score is not before
    assert metrics.precision_score is before
