"""Models of next tokens that see them, and reshapings in place of transpositions."""

from __future__ import annotations

import torch
from torch import nn

from faultlab.doctor.loops.calls import swaps
from faultlab.doctor.loops.repeated import sees_ahead
from faultlab.doctor.whole.effects import EFFECTS


class _Tokens(nn.Module):
    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 11)
        self.masked = masked

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1]) if self.masked else None
        return self.head(self.attention(self.embedding(ids), src_mask=mask))  # type: ignore[no-any-return]


def test_a_model_without_a_causal_mask_sees_ahead_and_one_with_it_does_not() -> None:
    batch = ((torch.randint(0, 11, (4, 9), generator=torch.Generator().manual_seed(0)),), {})
    assert sees_ahead(_Tokens(masked=False), [batch])
    assert not sees_ahead(_Tokens(masked=True), [batch])


def test_seeing_ahead_is_wrong_only_where_next_tokens_are_the_targets() -> None:
    seen = {"sees_ahead": True, "ahead": [{"by": 1, "labels": None}]}
    assert [one.check for one in EFFECTS.run(seen)] == ["tokens ahead"]
    assert EFFECTS.run({**seen, "ahead": [{"by": 0, "labels": None}]}) == []


def test_a_view_with_the_axes_in_another_order_swaps_nothing() -> None:
    images = torch.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3)
    assert swaps(images, images.view(2, 3, 4, 5))
    assert not swaps(images, images.permute(0, 3, 1, 2))
    assert not swaps(images, images.view(2, -1))
    assert not swaps(images, images.view(2, 20, 3))
    assert not swaps(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4).view(2, 4, 1))
