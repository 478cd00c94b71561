"""FutureHidden: models that see the tokens which they have to predict."""

from __future__ import annotations

from typing import Any, NamedTuple

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


class Flattens(Writer):
    """Computes its own loss, from logits of all rows in one."""

    def forward(self, tokens: Tensor, targets: Tensor) -> Any:  # type: ignore[override]
        logits = super().forward(tokens).flatten(0, 1)
        return logits, F.cross_entropy(logits, targets.flatten())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self(batch[0], batch[1])[1]


class TimeFirst(Writer):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens.T).transpose(0, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0].T).flatten(0, 1), batch[1].T.flatten())


class TimeFirstOutputs(Writer):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens).transpose(0, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]).flatten(0, 1), batch[1].T.flatten())


class Named(NamedTuple):
    tokens: Tensor


class TakesNamed(Writer):
    def forward(self, given: Named) -> Tensor:  # type: ignore[override]
        return super().forward(given.tokens)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(Named(batch[0])).transpose(1, 2), batch[1])


class HidesPadding(Writer):
    """Its padding is the token 0."""

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        seen = (tokens != 0)[:, None].expand(-1, tokens.shape[1], -1)
        mask = seen.tril() if self.causal else seen
        return self.out(hidden + F.scaled_dot_product_attention(hidden, hidden, hidden, attn_mask=mask))


class CountsTokens(Writer):
    """Numbers the tokens of rows that are padded on the left with 0."""

    def forward(self, tokens: Tensor) -> Tensor:
        width = tokens.shape[1]
        first = width - (tokens != 0).sum(1, keepdim=True)
        hidden = self.words(tokens) + self.places((torch.arange(width) - first).clamp(0))
        seen = (tokens != 0)[:, None].expand(-1, width, -1)
        mask = (seen.tril() if self.causal else seen) | torch.eye(width, dtype=torch.bool)
        return self.out(hidden + F.scaled_dot_product_attention(hidden, hidden, hidden, attn_mask=mask))


class Routes(Writer):
    """Has experts that take the first tokens of the whole batch."""

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        hidden = hidden + F.scaled_dot_product_attention(hidden, hidden, hidden, is_causal=self.causal)
        every = hidden.flatten(0, 1)
        taken = (every[:, 0] > 0).nonzero()[:20, 0]
        return self.out(every.index_add(0, taken, every[taken].sin()).view_as(hidden))


def rows(*parts: Tensor, size: int = 8) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*parts), batch_size=size)


def padded(left: bool) -> DataLoader[Any]:
    places = torch.arange(LENGTH + 1)
    lengths = 4 + torch.arange(len(DRAWN)) % 5
    kept = places > LENGTH - lengths[:, None] if left else places < lengths[:, None]
    tokens = torch.where(kept, DRAWN, 0)
    return rows(tokens[:, :-1], tokens[:, 1:])


SHIFTED = rows(DRAWN[:, :-1], DRAWN[:, 1:])
PARTLY = rows(DRAWN[:, :-1], torch.where(torch.arange(LENGTH) < 4, -100, DRAWN[:, 1:]))
WHOLE = rows(DRAWN)
SQUARE = rows(DRAWN[:, :-1], DRAWN[:, 1:], size=LENGTH)
CASES = [
    (Writer, SHIFTED),
    (Writer, PARTLY),
    (OfWholeRows, WHOLE),
    (ShiftsItself, WHOLE),
    (Recurrent, SHIFTED),
    (Flattens, SHIFTED),
    (TimeFirst, SHIFTED),
    (TimeFirstOutputs, SHIFTED),
    (TimeFirstOutputs, SQUARE),
    (TakesNamed, SHIFTED),
    (HidesPadding, padded(left=False)),
    (CountsTokens, padded(left=True)),
    (Routes, SHIFTED),
]


@pytest.mark.parametrize(("model", "loader"), CASES)
def test_a_model_that_sees_the_next_token_is_detected(model: type[Writer], loader: Any) -> None:
    alarm = alarm_of(FutureHidden(), model(causal=False), loader, limit_val_batches=0)
    assert alarm is not None
    assert "the model sees the tokens that it has to predict" in alarm.found


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


class Autoencoder(Writer):
    """Reads the whole text before it writes it, through a code with noise."""

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.words(tokens)
        return self.out(hidden + hidden.mean(1, keepdim=True) + 0.1 * torch.randn(8))


class Stepwise(Writer):
    """Never calls more than its parts."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        hidden = self.words(batch[0])
        mixed = F.scaled_dot_product_attention(hidden, hidden, hidden, is_causal=self.causal)
        return F.cross_entropy(self.out(hidden + mixed).transpose(1, 2), batch[1])


def test_a_variational_autoencoder_may_read_the_whole_text() -> None:
    fit(guard := FutureHidden(), Autoencoder(causal=False), SHIFTED, limit_val_batches=0)
    assert list(guard.skipped) == ["the model draws random numbers in eval mode"]


def test_an_embedding_alone_is_not_taken_for_the_model() -> None:
    fit(guard := FutureHidden(), Stepwise(causal=False), SHIFTED, limit_val_batches=0)
    assert guard.looked == 0


def test_labels_that_only_the_model_is_given_are_known() -> None:
    model = Flattens(causal=False)
    optimizer = torch.optim.Adam(model.parameters())
    batches = [7, 8]

    def train() -> None:
        with guards.watch(model, optimizer, guards=[FutureHidden()], loader=batches):
            for size in batches:
                optimizer.zero_grad()
                model(DRAWN[:size, :-1], DRAWN[:size, 1:])[1].backward()
                optimizer.step()

    with pytest.raises(guards.Alarm):
        train()


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
