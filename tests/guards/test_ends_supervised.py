"""EndsSupervised: what it detects, and what it allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from faultlab.guards import EndsSupervised
from tests.guards.rig import Healthy, alarm_of

END, PAD, NEWLINE = 1, 0, 2
Collate = Callable[[list[Tensor]], dict[str, Tensor]]


class Text(Healthy):
    """Learns anything, since the labels are tested and not what is learned from them."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self(batch["input_ids"][:, :4].float()).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))


def texts(*ending: int, count: int = 128) -> list[Tensor]:
    drawn = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 20, (count,), generator=drawn)
    return [torch.cat([torch.randint(3, 30, (int(n),), generator=drawn), torch.tensor(ending)]) for n in lengths]


def collate(rows: list[Tensor], pad: int, ignored: tuple[int, ...], masked: bool = False, length: int = 0) -> Any:
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    ids = torch.nn.functional.pad(ids, (0, max(0, length - ids.shape[1])), value=pad)
    labels = ids.clone()
    for token in ignored:
        labels[ids == token] = -100
    places = torch.arange(ids.shape[1])
    mask = torch.stack([(places < len(row)).long() for row in rows])
    return {"input_ids": ids, "labels": labels, **({"attention_mask": mask} if masked else {})}


def alarm(rows: list[Tensor], how: Collate) -> Any:
    loader = DataLoader(rows, batch_size=8, shuffle=True, collate_fn=how)
    return alarm_of(EndsSupervised(), Text(), loader, loader, max_epochs=1)


@pytest.mark.parametrize(
    "how",
    [
        lambda rows: collate(rows, END, (END,)),
        lambda rows: collate(rows, END, (END,), masked=True),
        lambda rows: collate(rows, END, (END,), masked=True, length=40),
        lambda rows: collate(rows, PAD, (END, PAD), masked=True),
    ],
)
def test_an_end_token_that_is_masked_like_padding_is_detected(how: Collate) -> None:
    found = alarm(texts(END), how)
    assert found is not None
    assert "every text ends with the token 1" in found.found


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        ((END,), lambda rows: collate(rows, PAD, (PAD,))),
        ((END,), lambda rows: collate(rows, PAD, (PAD,), masked=True)),
        ((END,), lambda rows: collate(rows, PAD, (PAD,), length=40)),
        ((), lambda rows: collate(rows, PAD, (PAD,))),
        ((), lambda rows: collate(rows, PAD, (PAD,), masked=True)),
        ((END, NEWLINE), lambda rows: collate(rows, PAD, (PAD, NEWLINE), masked=True)),
        ((END,), lambda rows: collate(rows, END, ())),
    ],
)
def test_ends_that_are_supervised_and_texts_without_one_are_allowed(ending: tuple[int, ...], how: Collate) -> None:
    assert alarm(texts(*ending), how) is None


def test_labels_that_are_not_the_inputs_are_not_judged() -> None:
    def shifted(rows: list[Tensor]) -> Any:
        batch = collate(rows, END, (END,))
        return {**batch, "labels": batch["labels"].roll(-1, 1)}

    assert alarm(texts(END), shifted) is None
