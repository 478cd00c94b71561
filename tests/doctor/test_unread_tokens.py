"""Attention masks that let the padding through, and bidirectional layers of which one direction is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faultlab.core.user_code import UserCode
from faultlab.doctor.loss_inputs import LossInputs
from faultlab.doctor.unread_tokens import UNREAD_TOKENS

_LENGTHS = torch.tensor([2, 5, 3, 6])
_SEEDED = torch.Generator().manual_seed(0)
_IDS = torch.randint(1, 50, (4, 6), generator=_SEEDED).masked_fill(torch.arange(6) >= _LENGTHS[:, None], 0)
_PADS = _IDS == 0


def _told(step: Callable[[Any], Any], losses: Sequence[float] = (1.0,) * 20) -> list[str]:
    looking = LossInputs(UserCode(()))
    embedding = nn.Embedding(50, 8)
    for _ in range(3):
        with looking:
            output = step(embedding(_IDS))
        output.square().sum().backward()
    return [one.what for one in UNREAD_TOKENS.run({"reach": looking.reach.facts(), "losses": losses})]


def _attended(mask: torch.Tensor) -> Callable[[Any], Any]:
    return lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=mask)


def _by_hand(mask: torch.Tensor) -> Callable[[Any], Any]:
    return lambda x: (x @ x.mT).masked_fill(mask[:, None], -1e9).softmax(-1) @ x


def _by_layer(mask: torch.Tensor) -> Callable[[Any], Any]:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    # A row without padding has no key under the inverted mask.
    return lambda x: torch.nan_to_num(layer(x, x, x, key_padding_mask=mask)[0])


@pytest.mark.parametrize(
    ("right", "form"),
    [
        (~_PADS[:, None, :], _attended),
        (~_PADS[:, None, :].expand(-1, 6, -1), _attended),
        (_PADS, _by_hand),
        (_PADS, _by_layer),
    ],
    ids=["scaled dot product", "expanded", "masked_fill", "layer"],
)
def test_a_mask_that_lets_the_padding_through_is_found_and_its_opposite_is_not(
    right: torch.Tensor, form: Callable[[torch.Tensor], Callable[[Any], Any]]
) -> None:
    assert ["the attention mask is inverted" in what for what in _told(form(~right))] == [True]
    assert _told(form(right)) == []


def test_a_float_mask_that_lets_the_padding_through_is_found() -> None:
    right = torch.zeros(4, 1, 6).masked_fill(_PADS[:, None], -torch.inf)
    inverted = torch.zeros(4, 1, 6).masked_fill(~_PADS[:, None], -1e9)
    assert len(_told(_attended(inverted))) == 1
    assert _told(_attended(right)) == []


def test_attention_to_the_first_token_or_the_past_alone_is_healthy() -> None:
    first = torch.zeros(4, 1, 6, dtype=torch.bool)
    first[..., 0] = True
    assert _told(_attended(first)) == []
    assert _told(_attended(torch.ones(6, 6).tril().bool())) == []


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_both_directions_at_the_last_position_are_found_and_other_uses_are_not(kind: Any, batch_first: bool) -> None:
    def used(pick: Callable[[Any, Any], Any], bidirectional: bool = True) -> list[str]:
        layer = kind(8, 4, batch_first=batch_first, bidirectional=bidirectional)

        def step(x: Any) -> Any:
            out, state = layer(x if batch_first else x.transpose(0, 1))
            return pick(out if batch_first else out.transpose(0, 1), state[0] if isinstance(state, tuple) else state)

        return _told(step)

    assert ["has read one token" in what for what in used(lambda out, _: out[:, -1])] == [True]
    assert used(lambda out, _: torch.cat([out[:, -1, :4], out[:, 0, 4:]], 1)) == []
    assert used(lambda out, _: out.mean(1)) == []
    assert used(lambda out, state: torch.cat([out[:, -1], state[-1]], 1)) == []
    assert used(lambda _, state: torch.cat([state[-2], state[-1]], 1)) == []
    assert used(lambda out, _: out[:, -1], bidirectional=False) == []


def test_a_model_that_learns_with_one_direction_gets_attention_only() -> None:
    layer = nn.LSTM(8, 4, batch_first=True, bidirectional=True)
    looking = LossInputs(UserCode(()))
    for _ in range(2):
        with looking:
            output = layer(torch.randn(4, 6, 8))[0][:, -1]
        output.sum().backward()
    seen = {"reach": looking.reach.facts()}
    for losses, verdict in (([1.0] * 20, "wrong"), ([1.0] * 10 + [0.1] * 10, "attention")):
        assert [one.verdict for one in UNREAD_TOKENS.run({**seen, "losses": losses})] == [verdict]
