"""Windows that overlap across a split, and samples that were copied before it; splits in order are quiet."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from faultlab.doctor.whole.rows import Rows
from tests.doctor.whole.test_rows import found_in

_SERIES = torch.randn(600, generator=torch.Generator().manual_seed(0))
_TOKENS = torch.randint(0, 40, (600,), generator=torch.Generator().manual_seed(1))


def _told(windows: torch.Tensor, at_random: bool) -> list[str]:
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    order = order if at_random else torch.arange(len(windows))
    train, held_out = windows[order[:400]], windows[order[400:]]
    model = nn.Linear(1, 1)
    return found_in([(model, "learn", train), (model, "see", held_out), (model, "learn", train)])


@pytest.mark.parametrize(
    "windows",
    [
        _SERIES.unfold(0, 12, 1),
        _TOKENS.unfold(0, 16, 1),
        torch.stack([_SERIES, -_SERIES], 1).unfold(0, 12, 1),
        torch.stack([_SERIES, -_SERIES], 1).unfold(0, 12, 1).transpose(1, 2),
        torch.randn(3000, generator=torch.Generator().manual_seed(0)).unfold(0, 20, 5),
    ],
    ids=["series", "tokens", "channels first", "channels last", "stride 5"],
)
def test_windows_that_are_split_at_random_are_found_and_those_split_in_order_are_not(windows: torch.Tensor) -> None:
    (found,) = _told(windows, at_random=True)
    assert "the splits overlap" in found
    assert _told(windows, at_random=False) == []


@pytest.mark.parametrize(
    "samples",
    [
        torch.randint(0, 2, (600, 10), generator=torch.Generator().manual_seed(0)).float(),
        torch.eye(600),
        torch.randint(0, 3, (600, 8), generator=torch.Generator().manual_seed(0)),
        torch.arange(600).remainder(50)[:, None].expand(600, 12).float() / 50,
        torch.ones(600, 600).tril(),
        torch.sin(torch.arange(620) * torch.pi / 10).unfold(0, 12, 1)[:600].contiguous(),
    ],
    ids=["bits", "one-hot", "few tokens", "constant rows", "thermometer", "periodic in order"],
)
def test_samples_whose_beginnings_are_alike_by_chance_are_healthy(samples: torch.Tensor) -> None:
    assert [one for one in _told(samples, at_random=False) if "splits overlap" in one] == []


def _counted(rows: torch.Tensor) -> torch.Tensor:
    """Return rows whose last tenth is drawn so often that it is half of them."""
    generator = torch.Generator().manual_seed(0)
    cut = len(rows) * 9 // 10
    drawn = torch.randint(cut, len(rows), (cut - len(rows) + cut,), generator=generator)
    return torch.cat([rows, rows[drawn]])[torch.randperm(2 * cut, generator=generator)]


def _split(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


def test_samples_that_are_copied_before_the_split_are_found_and_copies_of_the_training_part_are_not() -> None:
    # Of so few values that single samples may be alike by chance.
    rows = torch.randint(0, 17, (1200, 4), generator=torch.Generator().manual_seed(0)).float()
    model = nn.Linear(4, 1)
    train, test = _split(_counted(rows))
    (found,) = found_in([(model, "learn", train), (model, "see", test)])
    assert "oversampled before the split" in found
    train, test = _split(rows)
    assert found_in([(model, "learn", _counted(train)), (model, "see", test)]) == []
    # What it has learnt from is looked at again, and so is a stage that is run several times.
    train = _counted(train)
    assert found_in([(model, "learn", train), (model, "see", train)]) == []
    assert found_in([(model, "learn", train), (model, "see", torch.cat([train, train, train, test]))]) == []


def test_some_frequent_phrases_among_unique_texts_are_healthy() -> None:
    generator = torch.Generator().manual_seed(0)
    phrases = torch.randint(0, 1000, (60, 6), generator=generator)
    often = (120 / torch.arange(1, 61)).long().clamp(min=3)
    texts = torch.randint(0, 1000, (1200, 6), generator=generator)
    rows = torch.cat([phrases.repeat_interleave(often, 0), texts])
    train, test = _split(rows[torch.randperm(len(rows), generator=generator)])
    model = nn.Linear(6, 1)
    assert found_in([(model, "learn", train), (model, "see", test)]) == []


def test_frequent_samples_among_rare_ones_are_healthy() -> None:
    generator = torch.Generator().manual_seed(0)
    # As sentences: a few are frequent, most are there once or twice.
    ranks = (torch.rand(3000, generator=generator) ** -1.2).clamp(max=1e6).long()
    rows = torch.stack([ranks, ranks * 7 % 101, ranks * 13 % 97, ranks % 11], 1)
    model = nn.Linear(4, 1)
    train, test = _split(rows)
    assert [one for one in found_in([(model, "learn", train), (model, "see", test)]) if "oversampled" in one] == []


def test_two_calls_of_one_function_are_two_stages() -> None:
    model, rows = nn.Linear(4, 1), Rows(lambda: f"{__file__}:1")
    data = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))

    def evaluate(part: torch.Tensor) -> None:
        for batch in part.split(10):
            rows.called(model, (batch,), {}, False)

    rows.called(model, (torch.zeros(2, 4),), {}, True)
    rows.learnt()
    evaluate(data[:20])
    evaluate(data[20:])
    (found,) = rows.facts()
    assert [one["rows"] for one in found["stages"]] == [20, 20]
