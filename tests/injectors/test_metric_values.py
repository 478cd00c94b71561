"""What a metric is computed from, and how it is added up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from faultlab.core.part_facts import LoaderFacts
from faultlab.injection.values import Logged
from faultlab.injectors.metric_values import count_twice, sum_in_bfloat16


def means(batch_size: int, batches: int, validations: int = 1) -> list[float]:
    """Return the epoch's means of an accuracy of one, as the framework computes them of what the injector leaves."""
    profile = SimpleNamespace(validation_loading=LoaderFacts(batch_size=batch_size))
    ctx: Any = SimpleNamespace(memory={}, checking=False, profile=profile)
    found = []
    for ctx.step in range(validations):
        values = [sum_in_bfloat16(Logged("accuracy", torch.tensor(1.0)), ctx).value for _ in range(batches)]
        found.append(float(torch.stack(values).mean()))
    return found


def test_a_sum_in_bfloat16_stops_at_256_and_begins_again_with_the_next_validation() -> None:
    assert means(1, 320, validations=2) == pytest.approx([0.8, 0.8])
    assert means(1, 200) == [1.0]


def test_the_size_of_a_batch_is_part_of_the_sum() -> None:
    assert means(100, 4) == [1.0]
    # The sum is 1104, since bfloat16 has no 1100.
    assert means(100, 11) == pytest.approx([1104 / 1100])


def test_the_first_samples_of_a_batch_occur_once_more_at_its_end() -> None:
    axes = {"0": 0, "1": 0}
    ctx: Any = SimpleNamespace(dose=SimpleNamespace(count=2.0), profile=SimpleNamespace(joins={}, sample_axes=axes))
    inputs, labels = count_twice((torch.arange(8).view(4, 2), torch.arange(4)), ctx)
    assert labels.tolist() == [0, 1, 2, 3, 0, 1]
    assert inputs[4:].tolist() == inputs[:2].tolist()
