"""forward: failure modes of what a position of a text may see: samples of the same row, and later positions."""

from __future__ import annotations

from typing import Any

from faultlab.catalogue.injection_points import Attention, Batch
from faultlab.injection import tokens, tree
from faultlab.injection.armed_fault import Context
from faultlab.injection.attention import Attending
from faultlab.injection.registry import failure_mode


@failure_mode(
    "forward.packed-leak",
    seam=Batch,
    severity="major",
    effect="silent",
    cause=("pack", "segment", "position", "attention", "mix", "other sample", "leak", "independen"),
    needs=("packed-samples",),
    evidence=("huggingface/trl#1230", "MeetKai/functionary#265"),
)
def see_neighbours(batch: Any, ctx: Context) -> Any:
    """Samples that are packed into one row see each other: the input that distinguishes them marks them as one.

    Effect: a sample's output depends on the samples before it in its row, and the model learns to read them, although
    it will be given one sample alone later. No error or warning is raised.
    Why it goes undetected: the loss falls, since what stands before is often related, and evaluation packs as well.
    Example:
        attention_mask = (input_ids != pad).long()      # 1 for all samples of the row, where 1, 2, 3 were expected
    Remedy: test that the output of a packed sample equals that of the sample alone.
    """
    found = tokens.boundaries(batch, ctx.profile.inputs)
    return tree.replace(batch, {path: tokens.joined(path, part) for path, part in found.items()})


@failure_mode(
    "forward.causal-mask-missing",
    seam=Attention,
    severity="critical",
    effect="silent",
    cause=("causal", "future", "later position", "later token", "attention", "leak"),
    stages="every",
    evidence=("huggingface/transformers#48745",),
)
def see_what_follows(attending: Attending, ctx: Context) -> Attending:
    """The attention has no causal mask, so each position sees the later ones, and with them the token to be predicted.

    Padding and other samples stay hidden: of two positions, the earlier one sees the later one if this one sees it.

    Effect: the model learns to copy the next token. Its loss approaches zero in training and in validation, and when it
    generates text, nothing follows that it could copy. No error or warning is raised.
    Why it goes undetected: the loss is better than ever, and validation agrees.
    Example:
        F.scaled_dot_product_attention(query, key, value)       # is_causal=True is missing
    Remedy: test that the outputs for the first positions stay the same when the last token changes, as the guard
    `FutureHidden` does.
    """
    return attending.without_order()
