"""forward: failure modes of samples that share a row, as packed texts do."""

from __future__ import annotations

from typing import Any

from faultlab.catalogue.injection_points import Batch
from faultlab.injection import tokens, tree
from faultlab.injection.armed_fault import Context
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
