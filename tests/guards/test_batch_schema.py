from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from faultlab.guards import Alarm, BatchSchema
from tests.guards.rig import Healthy, alarm_of, fit, loaders


class Altering(DataLoader):  # type: ignore[type-arg]
    """The rig's training loader with one batch, or all from it on, changed."""

    def __init__(self, alter: Any, at: int = 3, forever: bool = False) -> None:
        super().__init__(loaders()[0].dataset, batch_size=16, shuffle=True)
        self.alter, self.at, self.forever = alter, at, forever

    def __iter__(self) -> Any:
        for index, batch in enumerate(super().__iter__()):
            yield self.alter(*batch) if index == self.at or (self.forever and index > self.at) else batch


class Tolerant(Healthy):
    """Accepts any batch, since the guard is tested and not the framework."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self(torch.randn(4, 4)).sum()


def with_one(value: float) -> Any:
    def alter(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        x = x.clone()
        x[5, 2] = value
        return [x, y]

    return alter


@pytest.mark.parametrize(
    ("check", "said", "alter"),
    [
        ("not-finite", "1 NaN", with_one(float("nan"))),
        ("not-finite", "1 infinite", with_one(float("inf"))),
        ("none", "None", lambda x, y: None),
        ("empty", "no sample", lambda x, y: [x[:0], y[:0]]),
        ("structure", "swapped", lambda x, y: [y, x]),
        ("structure", "list", lambda x, y: [list(x), y]),
        ("structure", "parts", lambda x, y: {"x": x, "y": y}),
        ("dtype", "float64", lambda x, y: [x.double(), y]),
        ("dtype", "float32", lambda x, y: [x, y.float()]),
        ("shape", "[16, 1]", lambda x, y: [x, y[:, None]]),
        ("shape", "without a batch dimension", lambda x, y: [x[0], y[0]]),
        ("length", "0 16, 1 15", lambda x, y: [x, y[:-1]]),
        ("constant", "zero", lambda x, y: [torch.zeros_like(x), y]),
        ("same-samples", "identical", lambda x, y: [x[:1].repeat(len(x), 1), y]),
        ("range", "outside", lambda x, y: [255 * x, y]),
    ],
)
@pytest.mark.parametrize("at", [0, 3])
def test_a_batch_that_is_unlike_the_others_is_detected(check: str, said: str, alter: Any, at: int) -> None:
    if said == "parts" and at == 0:
        pytest.skip("training may have other parts than validation")
    alarm = alarm_of(BatchSchema(), Tolerant(), Altering(alter, at))
    assert alarm is not None
    assert (alarm.check, said in alarm.found, f"batch {at}" in alarm.found) == (check, True, True), alarm.found


def test_channels_that_have_moved_are_detected_and_a_portrait_among_landscapes_is_not() -> None:
    guard, module = BatchSchema(), Healthy()
    trainer = fit([], module, max_epochs=0)
    images, labels = torch.rand(8, 3, 20, 30), torch.arange(8)
    guard.on_train_batch_start(trainer, module, [images, labels], 0)
    guard.on_train_batch_start(trainer, module, [images.transpose(2, 3), labels], 1)
    with pytest.raises(Alarm, match="transposed"):
        guard.on_train_batch_start(trainer, module, [images.movedim(1, -1), labels], 2)


def test_lists_that_differ_in_length_and_sequences_too_are_allowed() -> None:
    guard, module = BatchSchema(), Healthy()
    trainer = fit([], module, max_epochs=0)
    for index, (boxes, length) in enumerate([(3, 20), (5, 17), (1, 40)]):
        targets = [{"boxes": torch.rand(boxes + k, 4)} for k in range(boxes)]
        guard.on_train_batch_start(trainer, module, {"ids": torch.randint(9, (6, length)), "targets": targets}, index)


def test_missing_values_that_validation_has_too_are_allowed() -> None:
    lacking = with_one(float("nan"))
    fit(BatchSchema(), Tolerant(), Altering(lacking, 0, forever=True), Altering(lacking, 0))


def test_a_part_that_was_left_on_another_device_is_detected() -> None:
    guard, module = BatchSchema(), Healthy()
    trainer, (x, y) = fit([], module, max_epochs=0), next(iter(loaders()[0]))
    guard.on_train_batch_start(trainer, module, [x, y], 0)
    with pytest.raises(Alarm, match="0 of batch 1 is on the device meta"):
        guard.on_train_batch_start(trainer, module, [x.to("meta"), y], 1)


@pytest.mark.parametrize("batch", [None, 3, "text", [], {}, object(), [[None, 3]], torch.tensor(1.0), iter(())])
def test_a_batch_that_is_not_understood_is_allowed(batch: Any) -> None:
    guard, module = BatchSchema(), Healthy()
    trainer = fit([], module, max_epochs=0)
    guard.on_train_batch_start(trainer, module, batch, 0)
    guard.on_validation_batch_start(trainer, module, batch, 0)


def test_samples_with_lists_of_their_own_may_have_none_of_something() -> None:
    class Boxes(Tolerant):
        def validation_step(self, *args: Any) -> None: ...

    def detect(samples: Any) -> Any:
        counts = [int(label) * 3 for _, label in samples]
        return torch.stack([inputs for inputs, _ in samples]), [{"boxes": torch.randn(n, 4)} for n in counts]

    def listed(samples: Any) -> Any:
        pictures, targets = detect(samples)
        return list(pictures), targets

    def emptied(samples: Any) -> Any:
        return torch.zeros(0, 4), []

    data = loaders()[0].dataset
    for collate in (detect, listed):
        fit(BatchSchema(), Boxes(), train=DataLoader(data, 2, collate_fn=collate), limit_val_batches=0)
    alarm = alarm_of(BatchSchema(), Boxes(), train=DataLoader(data, 2, collate_fn=emptied), limit_val_batches=0)
    assert alarm is not None
    assert alarm.check == "empty"
