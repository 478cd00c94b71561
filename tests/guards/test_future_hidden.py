"""FutureHidden: models that see the tokens which they have to predict."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faultlab import guards
from faultlab.guards import FutureHidden
from tests.guards.rig import Healthy, alarm_of, fit

WORDS, LENGTH, MASKED = 20, 10, 1
DRAWN = torch.randint(2, WORDS, (64, LENGTH + 1), generator=torch.Generator().manual_seed(0))


class Writer(Healthy):
    """A language model of one layer of attention, with or without a causal mask."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.words, self.places = nn.Embedding(WORDS, 8), nn.Embedding(LENGTH + 1, 8)
        self.out = nn.Linear(8, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        return self.out(hidden + F.scaled_dot_product_attention(hidden, hidden, hidden, is_causal=self.causal))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]).transpose(1, 2), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Do nothing."""


class OfWholeRows(Writer):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0][:, :-1]).transpose(1, 2), batch[0][:, 1:])


class ShiftsItself(Writer):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0])[:, :-1].flatten(0, 1), batch[0][:, 1:].flatten())


class Recurrent(Writer):
    """The mistake is the direction of a layer here."""

    def __init__(self, causal: bool) -> None:
        super().__init__(causal)
        self.layer = nn.GRU(8, 4 if not causal else 8, bidirectional=not causal, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.layer(self.words(tokens))[0])


class Restores(Writer):
    """Predicts the tokens that it is called with, or those that were masked."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]).transpose(1, 2), batch[1])


def rows(*parts: Tensor) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*parts), batch_size=8)


SHIFTED = rows(DRAWN[:, :-1], DRAWN[:, 1:])
PARTLY = rows(DRAWN[:, :-1], torch.where(torch.arange(LENGTH) < 4, -100, DRAWN[:, 1:]))
WHOLE = rows(DRAWN)
CASES = [(Writer, SHIFTED), (Writer, PARTLY), (OfWholeRows, WHOLE), (ShiftsItself, WHOLE), (Recurrent, SHIFTED)]


@pytest.mark.parametrize(("model", "loader"), CASES)
def test_a_model_that_sees_the_next_token_is_detected(model: type[Writer], loader: Any) -> None:
    alarm = alarm_of(FutureHidden(), model(causal=False), loader, limit_val_batches=0)
    assert alarm is not None
    assert "changes if token 9 is replaced" in alarm.found or "changes if token 10 is replaced" in alarm.found


@pytest.mark.parametrize(("model", "loader"), CASES)
def test_a_model_that_sees_no_later_token_is_allowed(model: type[Writer], loader: Any) -> None:
    fit(guard := FutureHidden(), model(causal=True), loader, limit_val_batches=0)
    assert guard.looked == 2, "once per epoch"


def test_models_that_restore_tokens_may_see_all_of_them() -> None:
    places = torch.rand(DRAWN.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    masked = rows(torch.where(places, MASKED, DRAWN), torch.where(places, DRAWN, -100))
    for loader in (rows(DRAWN, DRAWN), masked):
        fit(guard := FutureHidden(), Restores(causal=False), loader, limit_val_batches=0)
        assert guard.looked == 0


def test_rounding_in_half_precision_is_not_a_leak() -> None:
    fit(guard := FutureHidden(), Writer(causal=True), SHIFTED, limit_val_batches=0, precision="bf16-mixed")
    assert guard.looked


@pytest.mark.parametrize("causal", [True, False])
def test_a_loop_by_hand_is_judged_as_well(causal: bool) -> None:
    model = Writer(causal)
    optimizer = torch.optim.Adam(model.parameters())
    guard, alarm = FutureHidden(), None
    try:
        with guards.watch(model, optimizer, guards=[guard], loader=SHIFTED):
            for inputs, labels in SHIFTED:
                optimizer.zero_grad()
                F.cross_entropy(model(inputs).transpose(1, 2), labels).backward()
                optimizer.step()
    except guards.Alarm as raised:
        alarm = raised
    assert guard.looked == 1
    assert (alarm is not None) == (not causal)
