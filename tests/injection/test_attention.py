"""Masks of attention: which ones hide later positions, and what is left of them without that."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faultlab.core.fault import Fault
from faultlab.core.first_step import FirstStep
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.injection import hooks, registry
from faultlab.injection.armed_fault import Armed
from faultlab.injection.attention import Attending
from faultlab.injection.clock import Clock
from faultlab.injection.hooks import Site

ORDER = torch.ones(4, 4, dtype=torch.bool).tril()
PADDED = torch.tensor([False, True, True, True])
PACKED = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).bool()
ITSELF = torch.eye(4, dtype=torch.bool)


def added(shown: Tensor, hiding: float = float("-inf")) -> Tensor:
    return torch.zeros(shown.shape).masked_fill(~shown, hiding)


@pytest.mark.parametrize(
    "mask",
    [
        ORDER,
        ORDER.expand(2, 1, 4, 4),
        ORDER & PACKED,
        added(ORDER),
        added(ORDER, torch.finfo(torch.float32).min),
        added(ORDER, -1e9),
        added(ORDER, -1e4).bfloat16(),
    ],
    ids=["plain", "of samples and heads", "packed", "added", "the lowest number", "a low number", "bfloat16"],
)
def test_a_mask_that_shows_no_later_position_hides_them_whatever_else_it_hides(mask: Tensor) -> None:
    assert Attending(mask, False, 4).hides_later
    assert Attending(None, True, 4).hides_later


@pytest.mark.parametrize(
    "mask",
    [None, PACKED, PADDED.expand(4, 4), PADDED.expand(2, 1, 1, 4), ITSELF, torch.rand(4, 4), ORDER[:2]],
    ids=["no mask", "packed", "padding", "padding of samples", "nothing but itself", "numbers", "not square"],
)
def test_other_masks_hide_no_order_and_are_left_alone(mask: Tensor | None) -> None:
    found = Attending(mask, False, 4)
    assert not found.hides_later
    assert found.without_order() is found
    assert not Attending(None, True, 1).hides_later, "one position has no later ones"


def test_without_order_padding_and_other_samples_stay_hidden() -> None:
    rest = PACKED & PADDED | ITSELF
    assert torch.equal(
        Attending(rest & ORDER, False, 4).without_order().mask, PACKED & PADDED[:, None] & PADDED | ITSELF
    )
    assert torch.equal(Attending(added(ORDER & PACKED), False, 4).without_order().mask, added(PACKED))
    assert Attending(None, True, 4).without_order() == Attending(None, False, 4)


class Torchs(nn.Module):
    """Attends by a layer of torch, whose Boolean masks hide where True; or by its function alone."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        if kind == "layer":
            self.layer: Any = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        else:
            self.layer = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        if self.kind == "function":
            return F.scaled_dot_product_attention(x, x, x, None, 0.0, True)
        if self.kind == "layer":
            return self.layer(x, src_mask=hidden, is_causal=True)
        needs = self.kind == "with weights"
        mask = hidden < 0 if needs else hidden
        return self.layer(x, x, x, attn_mask=mask, need_weights=needs)[0]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("kind", ["function", "layer", "with weights", "without weights"])
def test_the_first_position_sees_the_last_token_in_every_form_of_torchs_attention_and_not_afterwards(
    kind: str, training: bool
) -> None:
    torch.manual_seed(0)
    model, x = Torchs(kind).train(training), torch.randn(2, 5, 8)
    other = x.clone()
    other[:, -1] += 1

    def leaks() -> bool:
        with torch.set_grad_enabled(training):
            return not torch.allclose(model(x)[:, 0], model(other)[:, 0], atol=1e-5)

    profile = TargetProfile(framework="torch", first_step=FirstStep(causal=True))
    mode = registry.load()["forward.causal-mask-missing"]
    armed = Armed(Fault("forward.causal-mask-missing"), mode, Clock(), profile)
    before = F.scaled_dot_product_attention, F.multi_head_attention_forward, torch.backends.mha.get_fastpath_enabled
    assert not leaks()
    with Patches() as patches:
        hooks.install(armed, patches, Site(Torchs, model))
        assert leaks()
    assert armed.activations > 0
    assert not leaks()
    after = F.scaled_dot_product_attention, F.multi_head_attention_forward, torch.backends.mha.get_fastpath_enabled
    assert after == before
