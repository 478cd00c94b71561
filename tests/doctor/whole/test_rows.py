"""Samples that the stages of a training share, by the fingerprints of what models are called with."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from faultlab.doctor.whole.rows import Rows, fingerprints
from faultlab.doctor.whole.stages import STAGES

_DATA = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))


def found_in(stages: Iterable[tuple[nn.Module, str, torch.Tensor]]) -> list[str]:
    """Return the findings on models that are called in turn on rows, to learn from them or not."""
    rows = Rows(lambda: "train.py:1")
    for module, what, given in stages:
        rows.boundary()
        for batch in given.split(10):
            rows.called(module, (batch,), {}, what == "learn")
            if what == "learn":
                rows.learnt()
    return [one.what for one in STAGES.run({"whole": {"models": rows.facts()}})]


def test_a_model_that_goes_on_in_the_next_fold_is_found() -> None:
    model = nn.Linear(4, 1)
    first, second = _DATA[:50], _DATA[50:]
    (found,) = found_in(
        [(model, "learn", first), (model, "see", second), (model, "learn", second), (model, "see", first)]
    )
    assert "trained again for each fold" in found


def test_a_new_model_for_each_fold_is_healthy() -> None:
    one, other = nn.Linear(4, 1), nn.Linear(4, 1)
    first, second = _DATA[:50], _DATA[50:]
    assert (
        found_in([(one, "learn", first), (one, "see", second), (other, "learn", second), (other, "see", first)]) == []
    )


def test_a_second_task_after_a_first_one_is_healthy() -> None:
    model = nn.Linear(4, 1)
    first, second = _DATA[:50], _DATA[50:]
    stages = [(model, "learn", first[:40]), (model, "see", first[40:]), (model, "learn", second[:40])]
    assert found_in([*stages, (model, "see", second[40:]), (model, "see", first[40:])]) == []


def test_a_test_set_of_another_split_is_found() -> None:
    model = nn.Linear(4, 1)
    (found,) = found_in([(model, "learn", _DATA[:60]), (model, "see", _DATA[60:80]), (model, "see", _DATA[40:90])])
    assert "20 of the 50 samples" in found
    assert "split again between the stages" in found


def test_evaluations_of_the_training_data_and_of_all_data_are_healthy() -> None:
    model = nn.Linear(4, 1)
    learnt = (model, "learn", _DATA[:60])
    assert (
        found_in([learnt, (model, "see", _DATA[:60]), learnt, (model, "see", _DATA[60:]), (model, "see", _DATA)]) == []
    )


def test_part_of_the_training_data_is_looked_at_within_an_epoch() -> None:
    model = nn.Linear(4, 1)
    parts = [(model, "learn", _DATA[start : start + 20]) for start in range(0, 100, 20)]
    stages = [one for part in parts for one in (part, (model, "see", _DATA))]
    assert found_in([*stages, *stages]) == []


def test_equal_rows_of_a_few_values_are_no_leak() -> None:
    model = nn.Linear(2, 1)
    bits = torch.tensor([[a, b] for a in (0.0, 1.0) for b in (0.0, 1.0)]).repeat(25, 1)
    assert found_in([(model, "learn", bits[:60]), (model, "see", bits[60:])]) == []


def test_splits_that_are_standardized_apart_are_found_and_those_by_one_scaler_are_not() -> None:
    def scaled(rows: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        return (rows - by.mean(0)) / by.std(0)

    train, held_out = _DATA[:60] * 3 + 1, _DATA[60:] * 2
    model = nn.Linear(4, 1)
    (found,) = found_in([(model, "learn", scaled(train, train)), (model, "see", scaled(held_out, held_out))])
    assert "standardized each by its own" in found
    assert found_in([(model, "learn", scaled(train, train)), (model, "see", scaled(held_out, train))]) == []


def test_padding_to_another_length_makes_no_other_sample() -> None:
    short, long = torch.tensor([[5, 6, 0, 0]]), torch.tensor([[5, 6, 0, 0, 0, 0]])
    assert fingerprints(short)[0] == fingerprints(long)[0]
    assert fingerprints(short)[0] != fingerprints(torch.tensor([[5, 7, 0, 0]]))[0]
