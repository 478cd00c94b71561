"""Labels that are 0 or 1 as floats, as binary cross-entropy takes them, are classes like whole numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from faultlab.catalogue import index
from faultlab.catalogue.requirements import inapplicable
from faultlab.core.part_facts import LoaderFacts
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.torch import facts
from faultlab.injectors.dataset import random_labels, removed_class
from faultlab.injectors.label import imbalanced_classes, missing_class, next_class, overlapping_classes

INPUTS = torch.arange(64.0).view(32, 2)
COLUMNS = [torch.arange(32).remainder(2).float(), torch.arange(32).remainder(2).float().view(32, 1)]
OF_CLASSES = ("label.imbalanced", "label.class-missing", "label.overlapping", "label.off-by-one",
              "dataset.class-removed", "loader.sorted")  # fmt: skip


def profile(labels: torch.Tensor) -> TargetProfile:
    return TargetProfile(
        batch="tuple", batch_size=32, leaves=facts.leaves({"0": INPUTS, "1": labels}), inputs=("0",), labels=("1",),
        sample_axes={"0": 0, "1": 0}, batches_differ=True, steps=16, epochs=2,
        loading=LoaderFacts(samples=256, batches=8, batch_size=32),
    )  # fmt: skip


def context(labels: torch.Tensor, **dose: float) -> Any:
    return SimpleNamespace(
        profile=profile(labels), memory={}, generator=torch.Generator().manual_seed(0), dose=SimpleNamespace(**dose)
    )


@pytest.mark.parametrize("labels", COLUMNS)
def test_failure_modes_of_classes_apply_to_them(labels: torch.Tensor) -> None:
    reasons = {mode: inapplicable(index.modes()[mode], profile(labels)) for mode in OF_CLASSES}
    assert set(reasons.values()) == {""}
    assert inapplicable(index.modes()["label.float"], profile(labels)) == "the labels contain no integer tensor"


@pytest.mark.parametrize("labels", [torch.linspace(0, 1, 32), torch.ones(32), COLUMNS[0].repeat(2, 1).T])
def test_they_do_not_apply_to_other_floats(labels: torch.Tensor) -> None:
    reasons = {mode: inapplicable(index.modes()[mode], profile(labels)) for mode in OF_CLASSES}
    assert "" not in reasons.values()


@pytest.mark.parametrize("labels", COLUMNS)
def test_a_class_becomes_rare_or_missing_with_its_samples(labels: torch.Tensor) -> None:
    for fault, ones in ((imbalanced_classes, 6), (missing_class, 0)):
        inputs, changed = fault((INPUTS, labels), context(labels, fraction=0.9))
        assert changed.sum() <= ones
        assert changed.shape == labels.shape
        assert torch.equal(inputs[:, 0].div(2).remainder(2), changed.flatten()), "inputs keep their labels"
    _, changed = removed_class((INPUTS, labels), context(labels))
    assert changed.min() == 1, "the lowest class is the one that is removed"


@pytest.mark.parametrize("labels", COLUMNS)
def test_changed_labels_are_still_zero_or_one(labels: torch.Tensor) -> None:
    swapped = overlapping_classes(labels, context(labels, fraction=0.5))
    _, drawn = random_labels((INPUTS, labels), SimpleNamespace(**vars(context(labels))))
    for changed in (swapped, drawn):
        assert changed.dtype == labels.dtype
        assert set(changed.flatten().tolist()) == {0.0, 1.0}
        assert 4 < (changed != labels).sum() < 28
    assert set(next_class(labels, context(labels)).flatten().tolist()) == {1.0, 2.0}


def test_floats_beside_class_numbers_stay_as_they_are() -> None:
    ctx = context(torch.arange(32))
    assert torch.equal(next_class(COLUMNS[0], ctx), COLUMNS[0])
    assert torch.equal(overlapping_classes(COLUMNS[0], ctx), COLUMNS[0])
