"""What the doctor sees of the samples that come, the losses' inputs and metric objects, each with its quiet twin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler
from torchmetrics.classification import BinaryF1Score

from faultlab.core.patching import Patches
from faultlab.detectors.exceptions import UserCode
from faultlab.doctor.drawn import DRAWN
from faultlab.doctor.ending import in_double, outside
from faultlab.doctor.loss_inputs import LossInputs
from faultlab.doctor.metric_objects import MetricObjects
from faultlab.doctor.metrics import METRICS
from faultlab.doctor.samples import Samples
from faultlab.doctor.told import TOLD

_X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
_LABELS = torch.arange(64) % 3


def _drawn(loader: DataLoader[Any]) -> list[str]:
    samples = Samples()
    for batch in loader:
        samples.batch(batch)
    samples.end(SimpleNamespace(train_dataloader=loader))
    return [one.what for one in DRAWN.run({"samples": samples.found, "labels": {"classes": 3}})]


def _weighted(weights: torch.Tensor) -> DataLoader[Any]:
    sampler = WeightedRandomSampler(weights.tolist(), 64, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(_X, _LABELS), batch_size=8, sampler=sampler)


def test_a_weight_for_each_class_draws_the_first_samples_alone() -> None:
    (found,) = _drawn(_weighted(torch.ones(3)))
    assert "3 weights for the 64 samples" in found


def test_a_weight_for_each_sample_is_quiet() -> None:
    assert _drawn(_weighted(torch.tensor([1.0, 5.0, 9.0])[_LABELS])) == []


def test_a_dataset_of_few_different_samples_is_quiet() -> None:
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).repeat(16, 1)
    assert _drawn(DataLoader(TensorDataset(corners, _LABELS), batch_size=8, shuffle=True)) == []


def test_a_dataset_in_the_order_of_its_labels_is_found_unless_shuffled() -> None:
    data = TensorDataset(_X, _LABELS.sort().values)
    (found,) = _drawn(DataLoader(data, batch_size=8))
    assert "sorted by label" in found
    assert _drawn(DataLoader(data, batch_size=8, shuffle=True)) == []


class Scaled(Dataset[Any]):
    """Normalises its samples, where they are kept or in a copy, and turns some by chance."""

    def __init__(self, kept: bool, numpy: bool) -> None:
        self.images: Any = _X.numpy().copy() if numpy else _X.clone()
        self.kept = kept

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = self.images[index]
        if not self.kept:
            image = image * float(torch.rand(())) if torch.rand(()) > 0.5 else image + 0
        image /= 0.25
        return image


@pytest.mark.parametrize("numpy", [False, True])
def test_a_dataset_that_works_on_what_it_keeps_is_found_and_augmentation_is_quiet(numpy: bool) -> None:
    (found,) = _drawn(DataLoader(Scaled(True, numpy), batch_size=8))
    assert "in place" in found
    assert _drawn(DataLoader(Scaled(False, numpy), batch_size=8)) == []


def _dice(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return 2 * (scores * labels).sum() / (scores.sum() + labels.sum())


def _tversky(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    hit, false, missed = (scores * labels).sum(), (scores * (1 - labels)).sum(), ((1 - scores) * labels).sum()
    return 1 - hit / (hit + 0.3 * false + 0.7 * missed)


def _masked(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return ((scores - 1).square() * mask).mean()


@pytest.mark.parametrize(
    ("loss", "ill"),
    [(_dice, True), (lambda p, y: 1 - _dice(p, y), False), (lambda p, y: -_dice(p, y), False), (_tversky, False),
     (_masked, False), (F.binary_cross_entropy, False)],
)  # fmt: skip
def test_a_loss_that_grows_with_the_overlap_is_found(loss: Any, ill: bool) -> None:
    labels = (_X > 0).float()
    inputs = LossInputs(UserCode())
    inputs.begin(([_X, labels], 0))
    with inputs:
        value = loss(torch.sigmoid(_X.clone().requires_grad_()), labels)
    inputs.weigh(value)
    assert [one for one in inputs.found if one["kind"] == "rewards"] == (
        [{"kind": "rewards", "loss": "training_step"}] if ill else []
    )
    value.backward()


def _told(*given: Any, loss: Any = F.cross_entropy) -> list[str]:
    inputs = LossInputs(UserCode())
    with inputs:
        loss(*given)
    return [one.what for one in TOLD.run({"compared": inputs.found})]


def test_a_loss_of_classes_with_one_class_is_found_and_two_are_quiet() -> None:
    (found,) = _told(torch.randn(8, 1), torch.ones(8, 1))
    assert "one class" in found
    assert _told(torch.randn(8, 2), torch.ones(8, dtype=torch.long)) == []


def test_a_divergence_of_probabilities_is_found_and_of_logarithms_quiet() -> None:
    scores, target = torch.randn(8, 3, requires_grad=True), torch.full((8, 3), 1 / 3)
    (found,) = _told(scores.softmax(1), target, loss=F.kl_div)
    assert "expects logarithms" in found
    assert _told(scores.log_softmax(1), target, loss=F.kl_div) == []


@pytest.mark.parametrize(
    ("values", "classes", "different", "remedy"),
    [([0, 255], 2, 2, "y == 255"), ([1, 2, 3], 3, 3, "y - 1"), ([0, 1, 2, 9], 5, 10, "10 outputs")],
)
def test_labels_that_are_no_classes_are_told_by_their_values(
    values: list[int], classes: int, different: int, remedy: str
) -> None:
    named = outside({"labels": {"values": values, "classes": classes, "different": different}})
    assert named is not None
    assert remedy in named.remedy


def test_labels_within_the_classes_are_not_blamed() -> None:
    assert outside({"labels": {"values": [0, 1], "classes": 2, "different": 2}}) is None


def test_a_metric_of_two_stages_and_one_never_reset_have_each_its_remedy() -> None:
    carried = {"both": ["MulticlassAccuracy", 0, 8], "kept": ["MulticlassAccuracy", 4, 0]}
    both, kept = METRICS.run({"metrics": {"carried": carried}})
    assert "separate metric object" in both.remedy
    assert "self.kept.reset()" in kept.remedy


def test_a_dataset_for_validation_that_draws_is_attended_to() -> None:
    def found(drawing: bool) -> list[str]:
        class Noisy(TensorDataset):
            def __getitem__(self, index: Any) -> Any:
                image, label = super().__getitem__(index)
                return image + (torch.randn(4) if drawing else 0), label

        samples, loaders = Samples(), [DataLoader(Noisy(_X, _LABELS)), DataLoader(TensorDataset(_X, _LABELS))]
        samples.end(SimpleNamespace(train_dataloader=loaders[1], val_dataloaders=loaders[0]))
        return [one.what for one in DRAWN.run({"samples": samples.found})]

    (varying,) = found(True)
    assert "validation is random" in varying
    assert found(False) == []


def test_weights_of_classes_in_double_are_told_from_a_batch_in_double() -> None:
    inputs = LossInputs(UserCode())
    with inputs, pytest.raises(RuntimeError, match="Double"):
        F.cross_entropy(torch.randn(8, 3), torch.zeros(8, dtype=torch.long), weight=torch.ones(3).double())
    named = in_double({"labels": inputs.labels, "batch": {"types": ["float32", "int64"]}})
    assert named is not None
    assert "class weights" in named.cause
    assert in_double({"labels": {}, "batch": {"types": ["float64"]}}) is None
    elsewhere = in_double({"labels": {}, "batch": {"types": ["float32"]}})
    assert elsewhere is not None
    assert "not the batch" in elsewhere.cause


def _scored(log_object: bool) -> list[str]:
    metric = BinaryF1Score()
    module = type("Module", (nn.Module, Logging), {})()
    module.f1 = metric
    trainer = SimpleNamespace(lightning_module=module, sanity_checking=False, callback_metrics={})
    objects = MetricObjects()
    with Patches() as patches:
        objects.attach(patches, Logging)
        objects.hook(trainer, "on_train_start")
        values = []
        for predicted, labels in ([1.0, 1.0, 0.0], [1, 0, 0]), ([1.0, 1.0, 1.0], [1, 1, 1]):
            objects.hook(trainer, "on_validation_batch_start")
            value = metric(torch.tensor(predicted), torch.tensor(labels))
            module.log("f1", metric if log_object else value)
            values.append(float(value))
            objects.hook(trainer, "on_validation_batch_end")
        trainer.callback_metrics["f1"] = metric.compute() if log_object else sum(values) / 2
        objects.hook(trainer, "on_validation_end")
    return [one.what for one in METRICS.run({"metrics": objects.found})]


class Logging:
    """Has a log as a module's."""

    def log(self, name: str, value: Any) -> None:
        """Takes what it is given."""


def test_the_mean_of_scores_by_the_batch_is_found_and_the_object_is_quiet() -> None:
    (found,) = _scored(log_object=False)
    assert "the mean of the batches' values of f1" in found
    assert _scored(log_object=True) == []
