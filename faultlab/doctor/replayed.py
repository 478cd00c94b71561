"""Validation values that are not what their names say: another scale than the training's, or another sample's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

REPLAYED = Checks()
check = REPLAYED.check
_NEAR, _SPREADS, _TIMES = 1e-3, 3.0, 10.0


@check("scale of losses", "Lightning-Universe/lightning-bolts#849")
def scales(seen: Seen) -> Iterator[Finding]:
    """Find a training loss that is a multiple of the validation loss of the same batch."""
    replay = seen.get("replay") or {}
    for name, factor in list((replay.get("factors") or {}).items())[:1]:
        times = factor if factor > 1 else 1 / factor
        larger, smaller = ("training loss", name) if factor > 1 else (name, "training loss")
        size = next((one for one in replay["sizes"] if abs(one - times) < _NEAR * one), None)
        why = ", which is the size of a dimension of the batch: one is summed over it, the other averaged" * bool(size)
        yield attention(
            "the training loss and the validation loss differ in scale: on the same batches, in the same mode, the "
            f"{larger} is {times:.4g} times {smaller}{why}",
            f"{name}, three validation batches through training_step and validation_step",
            "Reduce both the same way, such as by the mean over all elements (reduction='mean'), if they are to be "
            "compared.",
        )


@check("validation inputs", "PolymathicAI/the_well#68")
def scaled(seen: Seen) -> Iterator[Finding]:
    """Find validation inputs on another scale than those of the training."""
    yield from other_scale((seen.get("terms") or {}).get("inputs"), (seen.get("replay") or {}).get("inputs"))


def other_scale(trained: Mapping[str, float] | None, evaluated: Mapping[str, float] | None) -> Iterator[Finding]:
    """Yield the finding on two inputs, of training and evaluation, whose means and spreads are far apart."""
    if not trained or not evaluated:
        return
    spreads = sorted((trained["spread"], evaluated["spread"]))
    apart = abs(trained["mean"] - evaluated["mean"]) > _SPREADS * spreads[1]
    if spreads[0] > 0 and (apart or spreads[1] > _TIMES * spreads[0]):
        yield wrong(
            "the validation's inputs are on another scale than the training's, as if they were not preprocessed alike: "
            f"their mean is {evaluated['mean']:.3g} and their spread {evaluated['spread']:.3g}, in training "
            f"{trained['mean']:.3g} and {trained['spread']:.3g}",
            "the first batches of both",
            "Apply the same normalization to the validation data as to the training data, with the training's "
            "statistics.",
        )


@check("inputs of metrics", "rcmalli/lightning-maml#3")
def paired(seen: Seen) -> Iterator[Finding]:
    """Find a value that compares labels with the predictions for another input than the loss does."""
    depends = {name: set(parts) for name, parts in ((seen.get("replay") or {}).get("depends") or {}).items()}
    losses = [name for name in depends if "loss" in name.lower()]
    for loss, name in permutations(depends, 2):
        if loss not in losses or name in losses:
            continue
        shared, mine, theirs = (
            depends[loss] & depends[name],
            depends[name] - depends[loss],
            depends[loss] - depends[name],
        )
        if len(shared) == 1 and len(mine) == 1 and len(theirs) == 1:
            (label,), (other,), (own,) = shared, mine, theirs
            yield wrong(
                f"{name} compares batch{label} with predictions for another input: it depends on batch{other} and not "
                f"on batch{own}, but {loss} does",
                "each tensor of a validation batch was permuted in turn",
                f"Compute {name} from the predictions for batch{own}, the same input as for {loss}.",
            )
            return


@check("parts of the batch")
def idle(seen: Seen) -> Iterator[Finding]:
    """Find an input that the loss does not depend on, though it does on another one of the same shape."""
    for part in list(seen.get("idle_parts", ()))[:1]:
        yield attention(
            f"the training loss does not depend on batch{part}, although it does on a tensor of the same shape: "
            "another one may be used in its place",
            f"batch{part} of a training batch was permuted, and the loss stayed the same",
            f"Check where batch{part} is read in training_step, and use it where another part is used twice.",
        )
