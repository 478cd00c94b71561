"""Layers that behave otherwise in training than in evaluation, and a loop that has them in the wrong mode."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong
from faultlab.doctor.loops.mechanics import trains

MODES = Checks()
check = MODES.check


@check("training mode", "wkentaro/pytorch-fcn#57")
def learning(seen: Seen) -> Iterator[Finding]:
    """Find a model that learns in evaluation mode."""
    modes = seen.get("modes") or {}
    resting, training = modes.get("learns in evaluation", 0), modes.get("learns in training", 0)
    if not trains(seen) or resting <= 0.2 * (resting + training):
        return
    when = "after the first validation" if training else "from beginning to end"
    yield wrong(
        f"the model is trained in eval mode {when}: dropout is off, and BatchNorm does not learn its statistics",
        f"{resting} of {resting + training} calls ({seen['places'].get('model', '')})",
        "Call model.train() before the batches of each epoch.",
    )


@check("evaluation mode")
def evaluating(seen: Seen) -> Iterator[Finding]:
    """Find a model that is evaluated in training mode."""
    found = seen.get("evaluated") or {}
    training, resting = found.get("in training", 0), found.get("in evaluation", 0)
    if trains(seen) and training > resting:
        yield attention(
            "the model is evaluated in training mode: dropout is on, and BatchNorm uses and changes its statistics",
            f"{training} of {training + resting} calls without gradients ({seen['places'].get('evaluation', '')})",
            "Call model.eval() before the evaluation, and model.train() after it.",
        )


@check("batch size")
def alone(seen: Seen) -> Iterator[Finding]:
    """Find a BatchNorm that gets one sample at a time."""
    norms, ones = list(seen.get("norms", ())), len(seen["batch_of_one"])
    if norms and ones >= min(8, seen["gradients"]["backwards"]) > 0 and not seen.get("error"):
        yield wrong(
            f"{norms[0]} gets batches of one sample: its statistics are those of that sample",
            f"the first {ones} batches have one sample",
            "Use larger batches, or GroupNorm or LayerNorm in place of BatchNorm.",
        )


@check("samples of a batch")
def mixed(seen: Seen) -> Iterator[Finding]:
    """Find a model whose output for a sample depends on the other samples of its batch."""
    rows = (seen.get("relation") or {}).get("samples", 0)
    sizes = [one["batch_size"] for one in seen["loaders"] if one["learns"]]
    if trains(seen) and seen["mixes_samples"] and rows and any(sizes):
        yield wrong(
            "the output for a sample depends on the other samples of its batch, in evaluation mode too: a layer takes "
            "the dimension of the samples for another one, such as that of time",
            "copies of the model returned another output for the same samples beside other ones "
            f"({seen['places'].get('model', '')})",
            "Check the order of dimensions in forward: recurrent and attention layers expect (time, batch, features) "
            "unless batch_first=True; reshape with permute or transpose, not with view.",
        )
