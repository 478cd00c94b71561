"""Tokens that a model can't read: masks that hide all but the padding, and a direction that has read one token."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.experiments.course import Course
from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

UNREAD_TOKENS = Checks()
check = UNREAD_TOKENS.check
_TWICE, _LEARNT = 2, 0.5
_REMEDIES = {
    "scaled_dot_product_attention": "attn_mask is True where it attends: pass ~padding_mask, or ids != {token}",
    "multi_head_attention_forward": "key_padding_mask is True where it ignores: invert it, key_padding_mask=ids == "
    "{token}",
    "masked_fill": "masked_fill fills where its mask is True: invert it, scores.masked_fill(ids == {token}, -inf)",
}


@check("attention mask", "InseeFrLab/torchTextClassifiers#92")
def inverted(seen: Seen) -> Iterator[Finding]:
    """Find masks that let the padding through, and nothing else."""
    found = (seen.get("reach") or {}).get("masks", ())
    if len(found) >= _TWICE:
        token, function = found[0]["token"], found[0]["function"]
        yield wrong(
            f"the attention mask is inverted: it lets the padding through (token {token}, which fills the ends of the "
            "rows) and hides all other tokens",
            f"the mask of {function} is that of ids == {token} in {len(found)} of the first calls",
            _REMEDIES[function.rstrip("_")].format(token=token) + ".",
        )


@check("bidirectional layer", "yunjey/pytorch-tutorial#174")
def one_direction(seen: Seen) -> Iterator[Finding]:
    """Find a bidirectional layer whose output is used at the last step only."""
    found = [one for one in (seen.get("reach") or {}).get("directions", ()) if one["graded"]]
    if len(found) < _TWICE or not all(one["last"] and not one["state"] for one in found):
        return
    name = found[0]["kind"].partition("_")[0].upper()
    course = Course(seen.get("losses", ()))
    # With the forward direction alone, a model may learn what it should.
    say = attention if course.end < _LEARNT * course.start else wrong
    yield say(
        f"the output of the bidirectional {name} is used at the last position only, where its backward direction has "
        "read one token: the last one, which is padding in shorter texts; its state after the whole text is at "
        "position 0, and is not used",
        f"the gradients of the first {len(found)} calls, of up to {max(one['steps'] for one in found)} steps",
        "Use the final states of both directions, torch.cat([h_n[-2], h_n[-1]], 1), with pack_padded_sequence for "
        "padded texts; or the backward half of the output at position 0; or a mean over all positions.",
    )
