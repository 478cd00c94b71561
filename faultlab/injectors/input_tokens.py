"""input: failure modes of the masks that belong to a text."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.injection_points import Batch
from faultlab.injection import tokens, tree
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "input.mask-ignored",
    seam=Batch,
    severity="major",
    effect="silent",
    cause=("mask", "pad", "attention"),
    needs=("hiding-mask",),
    evidence=("JoakimEdin/medical-coding-reproducibility#13", "yg211/bert_nli#3"),
)
def hide_nothing(batch: Any, ctx: Context) -> Any:
    """Masks hide nothing: every value of a mask among the inputs is one, so the model reads padding like content.

    Effect: what the model computes for a sample depends on how far its batch is padded. No error or warning is raised.
    Why it goes undetected: the model learns to ignore most padding by itself, and predictions are off a little, more
    for short samples than for long ones.
    Example:
        mask = pad_sequence(masks, batch_first=True, padding_value=tokenizer.pad_token_id)      # 1, not 0
    Remedy: test that the output of a sample stays the same when its batch is padded further.
    """
    found = tokens.masks(batch, ctx.profile.inputs)
    return tree.replace(batch, {path: torch.ones_like(mask) for path, mask in found.items()})
