"""PaddingIgnored: a loss over words and padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from faultlab.guards import Alarm, PaddingIgnored, watch
from faultlab.guards.support import batch_view, padding
from tests.guards.rig import Healthy, alarm_of, fit

WORDS = 12
PAD = 0


class Writer(Healthy):
    """Predicts the next token of sentences of different lengths."""

    def __init__(self, **loss: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 8, padding_idx=PAD)
        self.out = nn.Linear(8, WORDS)
        self.loss = loss

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.words(tokens))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        tokens = batch["tokens"]
        logits = self(tokens[:, :-1])
        return F.cross_entropy(logits.reshape(-1, WORDS), tokens[:, 1:].reshape(-1), **self.loss)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Do nothing."""


class Plain(Writer):
    """Has an embedding without a padding token."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 8)


class Masked(Writer):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        tokens = batch["tokens"]
        each = F.cross_entropy(self(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:], reduction="none")
        mask = tokens[:, 1:] != PAD
        return (each * mask).sum() / mask.sum()


class Chosen(Writer):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        tokens = batch["tokens"]
        mask = tokens[:, 1:] != PAD
        return F.cross_entropy(self(tokens[:, :-1])[mask], tokens[:, 1:][mask])


class Labelled(Writer):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        tokens = batch["tokens"]
        labels = tokens[:, 1:].masked_fill(tokens[:, 1:] == PAD, -100)
        return F.cross_entropy(self(tokens[:, :-1]).reshape(-1, WORDS), labels.reshape(-1))


class Tagger(Writer):
    """Predicts for each word whether it is even; the label of padding is that it is."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        tags = batch["tokens"] % 2
        return F.cross_entropy(self(batch["tokens"]).transpose(1, 2), tags, **self.loss)


class OfSentences(Writer):
    """Predicts one class for each sentence."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch["tokens"]).mean(1), batch["tokens"][:, 0])


def sentences(mask: str = "", left: bool = False, inner: bool = False, equal: bool = False) -> DataLoader[Any]:
    """Return sentences of 4 to 10 words, padded to 10, with a mask or lengths under the name ``mask``."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number in range(32):
        length = 10 if equal else 4 + number % 7
        tokens = torch.randint(1, WORDS, (length,), generator=generator)
        if inner:
            tokens[1] = PAD
        rows.append(F.pad(tokens, (10 - length, 0) if left else (0, 10 - length), value=PAD))
    batches = [{"tokens": torch.stack(rows[i : i + 8])} for i in range(0, 32, 8)]
    for batch in batches if mask else []:
        is_word = batch["tokens"] != PAD
        batch[mask] = is_word.sum(1) if mask == "lengths" else is_word.long()
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "data"),
    [
        (Writer(), sentences()),
        (Writer(), sentences(left=True)),
        (Writer(reduction="sum"), sentences()),
        (Plain(), sentences(mask="attention_mask")),
        (Plain(), sentences(mask="lengths")),
        (Tagger(), sentences()),
    ],
)
def test_a_loss_over_padding_is_detected(module: Any, data: Any) -> None:
    alarm = alarm_of(PaddingIgnored(), module, data, data)
    assert alarm is not None
    assert alarm.check == "counted"
    assert "token 0" in alarm.found
    assert "ignore_index=0" in alarm.remedy


@pytest.mark.parametrize(
    ("module", "data"),
    [
        (Writer(ignore_index=PAD), sentences()),
        (Writer(weight=torch.tensor([0.0] + [1.0] * (WORDS - 1))), sentences()),
        (Masked(), sentences()),
        (Chosen(), sentences()),
        (Labelled(), sentences()),
        (OfSentences(), sentences()),
        # A token that occurs within sentences too is a word, and so is one that nothing declares as padding.
        (Writer(), sentences(inner=True)),
        (Plain(), sentences()),
        (Writer(), sentences(equal=True)),
    ],
)
def test_losses_over_words_alone_and_tokens_that_are_words_are_allowed(module: Any, data: Any) -> None:
    fit(PaddingIgnored(), module, data, data, max_epochs=1)


@pytest.mark.parametrize(("ignored", "check"), [(-100, "counted"), (PAD, "")])
def test_a_loss_over_padding_is_detected_in_a_loop_by_its_call(ignored: int, check: str) -> None:
    model = nn.Sequential(nn.Embedding(WORDS, 8, padding_idx=PAD), nn.Linear(8, WORDS))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loader, found = sentences(), ""
    original = F.cross_entropy
    try:
        with watch(model, optimizer, guards=(guard := PaddingIgnored()), loader=loader):
            for batch in loader:
                optimizer.zero_grad()
                tokens = batch["tokens"]
                F.cross_entropy(
                    model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=ignored
                ).backward()
                optimizer.step()
    except Alarm as alarm:
        found = alarm.check
    assert found == check
    assert guard.looked
    assert F.cross_entropy is original


def test_batches_of_other_things_are_allowed() -> None:
    fit(PaddingIgnored())


class Tagger(Writer):
    """Tags every word, and optimizes by hand."""

    def __init__(self, **loss: Any) -> None:
        super().__init__(**loss)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        optimizer = self.optimizers()
        optimizer.zero_grad()
        loss = F.cross_entropy(self(batch["tokens"]).flatten(0, 1), batch["tags"].flatten(), **self.loss)
        self.manual_backward(loss)
        optimizer.step()


def tagged(ignored: int = -100, misplaced: bool = False, without_first: bool = False) -> DataLoader[Any]:
    def collate(texts: list[Tensor]) -> dict[str, Tensor]:
        own = sorted(texts, key=len, reverse=True) if misplaced else texts
        tags = nn.utils.rnn.pad_sequence([text % 3 for text in texts], batch_first=True, padding_value=ignored)
        if without_first:
            tags = torch.cat([tags[:, 1:], torch.full_like(tags[:, :1], ignored)], 1)
        tokens = nn.utils.rnn.pad_sequence(own, batch_first=True, padding_value=PAD)
        return {"tokens": tokens, "tags": tags}

    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 12, (64,), generator=generator).tolist()
    texts = [torch.randint(1, WORDS, (length,), generator=generator) for length in lengths]
    return DataLoader(texts, batch_size=16, collate_fn=collate)  # type: ignore[arg-type]


@pytest.mark.parametrize("without_first", [False, True])
def test_tags_that_are_ignored_at_the_padding_of_their_inputs_raise_no_alarm(without_first: bool) -> None:
    guard = PaddingIgnored()
    fit(guard, Tagger(), tagged(without_first=without_first), max_epochs=1)
    assert (guard.looked, dict(guard.skipped)) == (1, {})


def test_padding_is_looked_at_under_manual_optimization() -> None:
    alarm = alarm_of(PaddingIgnored(), Tagger(), tagged(ignored=PAD), max_epochs=1)
    assert alarm is not None
    assert alarm.check == "counted"


def test_labels_of_other_rows_are_told_by_their_lengths() -> None:
    alarm = alarm_of(PaddingIgnored(), Tagger(), tagged(misplaced=True), max_epochs=1)
    assert alarm is not None
    assert alarm.check == "other-rows"
    assert "the same lengths in another order" in alarm.found


def test_a_tensor_of_ignored_labels_is_not_taken_for_the_tokens() -> None:
    look = batch_view.look(
        {"tags": torch.tensor([[1, 2, 0, -100], [0, 1, -100, -100], [1, -100, -100, -100], [0] * 4])}
    )
    assert padding.find(look, 0.05) is None
