from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faultlab.guards import Labels, LabelsAligned
from tests.guards.rig import Healthy, alarm_of, fit


class Many(Healthy):
    """Accepts labels of any kind, since the labels are tested and not what is learned from them."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self(batch[0].float().flatten(1)[:, :4]).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))


def sample(n: int, seed: int, width: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs, ``float32[n, width]``, and the class of five that follows from the first feature."""
    inputs = torch.randn(n, width, generator=torch.Generator().manual_seed(seed))
    return inputs, (inputs[:, 0] * 1.3 + 2.5).clamp(0, 4.99).long()


def on(train: Any, validation: Any, shuffle: bool = True) -> tuple[DataLoader[Any], DataLoader[Any]]:
    return (
        DataLoader(TensorDataset(*train), batch_size=32, shuffle=shuffle),
        DataLoader(TensorDataset(*validation), batch_size=128),
    )


def relabelled(alter: Any, n: int = 512, width: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels = sample(n, 0, width)
    return inputs, alter(labels)


@pytest.mark.parametrize(
    ("check", "said", "alter"),
    [
        ("constant", "a single class", lambda y: torch.full_like(y, 4)),
        ("constant", "sorted", lambda y: y.sort().values),
        ("ignored", "-100", lambda y: torch.full_like(y, -100)),
        ("out-of-range", "out of range", lambda y: torch.where(y == 3, 2**31 - 1, y)),
        ("class-missing", "class 3 is missing", lambda y: torch.where(y == 3, 2, y)),
        ("imbalanced", "rare", lambda y: torch.where((y > 1) & (torch.arange(len(y)) % 8 > 0), 1, y)),
    ],
)
def test_labels_that_are_not_those_of_validation_are_detected(check: str, said: str, alter: Any) -> None:
    data = on(relabelled(alter), sample(256, 1), shuffle="sorted" not in said)
    alarm = alarm_of(Labels(), Many(), *data)
    assert alarm is not None
    assert (alarm.check, said in alarm.found) == (check, True), alarm.found


class Sparse(Many):
    """Learns from few labels, with a loss that divides by their number."""

    least = 1

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        total = F.cross_entropy(self(batch[0][:, :4]), batch[1].clamp(max=1), ignore_index=-100, reduction="sum")
        return total / (batch[1] >= 0).sum().clamp(min=self.least)


@pytest.mark.parametrize("least", [0, 1])
def test_a_batch_without_labels_is_detected_if_its_loss_is_not_finite(least: int) -> None:
    def mostly(y: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.arange(len(y)) // 32 == 7, -100, y)

    data = on(relabelled(mostly), sample(256, 1), shuffle=False)
    module = Sparse()
    module.least = least
    alarm = alarm_of(Labels(), module, *data)
    assert (alarm is not None) == (least == 0)
    assert alarm is None or (alarm.check, "batch 7" in alarm.found) == ("ignored", True)


def test_targets_that_lie_elsewhere_or_do_not_vary_are_detected() -> None:
    x, _ = sample(256, 0)
    validation = sample(128, 1)[0], sample(128, 1)[0][:, :1]
    for check, y in (("shifted", x[:, :1] + 3), ("shifted", x[:, :1] * 1000), ("constant", torch.ones(256, 1))):
        alarm = alarm_of(Labels(), Many(), *on((x, y), validation))
        assert alarm is not None
        assert alarm.check == check


def test_a_class_beyond_the_declared_ones_is_detected() -> None:
    fit(Labels(classes=5), Many(), *on(sample(128, 0), sample(128, 1)))
    alarm = alarm_of(Labels(classes=4), Many(), *on(sample(128, 0), sample(128, 1)))
    assert alarm is not None
    assert "there are 4 classes" in alarm.found


def two_in_a_hundred(n: int) -> torch.Tensor:
    return torch.rand(n) < 0.02


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        # Anomaly detection learns from normal samples only.
        (lambda n: torch.zeros(n).long(), lambda n: torch.arange(n) % 2),
        (lambda n: two_in_a_hundred(n).float(), lambda n: two_in_a_hundred(n).float()),
        (lambda n: two_in_a_hundred(n).long(), lambda n: two_in_a_hundred(n).long()),
        (lambda n: (10 ** (6 * torch.rand(n))).long(), lambda n: (10 ** (6 * torch.rand(n))).long()),
        (lambda n: (3 * torch.randn(n, 1)).exp(), lambda n: (3 * torch.randn(n, 1)).exp()),
        (lambda n: torch.randint(-5, 5, (n,)), lambda n: torch.randint(-5, 5, (n,))),
        (lambda n: torch.arange(n) % 5, lambda n: torch.arange(n) % 5 // 4 * 4),
        (lambda n: torch.randint(9, (n, 7)), lambda n: torch.randint(9, (n, 7))),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_labels_that_may_well_be_so_are_allowed(train: Any, validation: Any, seed: int) -> None:
    torch.manual_seed(seed)
    data = on((torch.randn(128, 4), train(128)), (torch.randn(128, 4), validation(128)))
    fit([Labels(), LabelsAligned()], Many(), *data)


@pytest.mark.parametrize(
    ("check", "said", "alter"),
    [
        ("unrelated", "shuffled", lambda y: y[torch.randperm(len(y))]),
        ("opposite", "inverted", lambda y: 4 - y),
        ("opposite", "renumbered", lambda y: torch.tensor([3, 0, 4, 1, 2])[y]),
    ],
)
def test_labels_that_do_not_belong_to_their_inputs_are_detected(check: str, said: str, alter: Any) -> None:
    torch.manual_seed(0)
    alarm = alarm_of(LabelsAligned(), Many(), *on(relabelled(alter), sample(256, 1)))
    assert alarm is not None
    # One batch may be too small to distinguish another relation from none.
    assert alarm.check in (check, "unrelated")
    assert said in alarm.found


def test_validation_labels_that_do_not_belong_are_detected() -> None:
    x, y = sample(512, 1)
    alarm = alarm_of(LabelsAligned(), Many(), *on(sample(512, 0), (x, y.roll(7))))
    assert alarm is not None
    assert alarm.check == "validation-unrelated"


def test_labels_that_change_from_epoch_to_epoch_are_detected() -> None:
    class Changing(TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            x, y = super().__getitem__(index)
            return x, (y + (torch.rand(()) < 0.3)) % 5

    train = DataLoader(Changing(*sample(256, 0)), batch_size=32, shuffle=True)
    alarm = alarm_of(LabelsAligned(), Many(), train, on(sample(64, 0), sample(64, 1))[1])
    assert alarm is not None
    assert alarm.check == "changing"


def text(n: int, noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(20, (n, 13))
    wrong = torch.rand(n, 12) < noise
    return ids[:, :-1], torch.where(wrong, torch.randint(20, (n, 12)), ids[:, 1:])


def test_labels_of_tokens_that_have_lost_their_offset_are_detected() -> None:
    torch.manual_seed(0)
    fit(LabelsAligned(), Many(), *on(text(128), text(128)))
    for train, validation, where in ((0.3, 0.0, "training labels"), (0.0, 0.3, "validation labels")):
        alarm = alarm_of(LabelsAligned(), Many(), *on(text(128, train), text(128, validation)))
        assert alarm is not None
        assert (alarm.check, where in alarm.found) == ("offset", True)


def bars(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images, ``float32[n, 1, 6, 6]``, with as many bright left columns as the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(5, (n,), generator=generator)
    bright = (torch.arange(6) < labels[:, None]).float()[:, None, None, :].expand(n, 1, 6, 6)
    return bright + 0.1 * torch.randn(n, 1, 6, 6, generator=generator), labels


@pytest.mark.parametrize("width", [2, 6])
def test_augmented_inputs_are_allowed(width: int) -> None:
    class Moved(TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            x, y = super().__getitem__(index)
            moved = torch.rot90(x, int(torch.randint(4, ())), (1, 2)).roll(int(torch.randint(width, ())), 2)
            return moved, y

    train = DataLoader(Moved(*bars(512, 0)), batch_size=32, shuffle=True)
    fit(LabelsAligned(), Many(), train, on(bars(64, 0), bars(128, 1))[1])


def test_a_relation_that_neither_split_has_is_not_missed() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(512, 8), torch.randint(5, (512,))
    fit(LabelsAligned(), Many(), *on((x, y), (torch.randn(256, 8), torch.randint(5, (256,)))))


def test_classes_that_are_others_on_purpose_are_allowed() -> None:
    (seen, labels), (unseen, others) = sample(512, 0), sample(256, 1)
    fit(Labels(), Many(), *on((seen, labels), (unseen, others + 5)))


class Drawn(TensorDataset):
    """Yields inputs with something that is drawn each time."""

    def __init__(self, inputs: torch.Tensor, draw: Any) -> None:
        super().__init__(inputs)
        self.draw = draw

    def __getitem__(self, index: int) -> Any:
        (inputs,) = super().__getitem__(index)
        return inputs, self.draw(inputs)


@pytest.mark.parametrize(
    ("draw", "check"),
    [
        (lambda inputs: torch.randint(1000, ()), None),
        (lambda inputs: inputs + 0.1 * torch.randn_like(inputs), None),
        (lambda inputs: torch.randint(5, ()), "changing"),
        (lambda inputs: inputs[:1] + torch.randn(1), "changing"),
    ],
    ids=["times", "noisy copies", "classes", "numbers"],
)
def test_values_drawn_in_each_epoch_are_detected_if_they_are_labels(draw: Any, check: str | None) -> None:
    torch.manual_seed(0)
    train = DataLoader(Drawn(sample(256, 0)[0], draw), batch_size=32, shuffle=True)
    alarm = alarm_of(LabelsAligned(), Many(), train, DataLoader(Drawn(sample(64, 1)[0], draw), batch_size=64))
    assert (alarm and alarm.check) == check


@pytest.mark.parametrize("seed", range(3))
def test_texts_padded_to_the_longest_of_their_batch_keep_their_labels(seed: int) -> None:
    drawn = torch.Generator().manual_seed(seed)
    texts = [torch.randint(1, 20, (int(n),), generator=drawn) for n in torch.randint(7, 30, (256,), generator=drawn)]

    def collate(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return {"input_ids": ids, "labels": ids.masked_fill(ids == 0, -100)}

    class Text(Many):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self(batch["input_ids"][:, :4].float()).square().mean()

    loaders = [DataLoader(texts, batch_size=16, shuffle=shuffle, collate_fn=collate) for shuffle in (True, False)]
    fit(LabelsAligned(), Text(), *loaders, max_epochs=3)
