"""What the model and the loss get: inputs, labels, and functions over the wrong dimension."""

from __future__ import annotations

import math
from collections.abc import Iterator

from faultlab.doctor import drawn, made_of, told
from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong
from faultlab.doctor.loops.mechanics import trains

DATA, REST = Checks(), Checks()
check = DATA.check
_CLEAR, _FEW, _MANY = 0.15, 200, 64
_MUCH_PADDING, _ALL = 0.1, 0.99

check("loss inputs", "ariecattan/SciCo#2")(told.losses)
check("range of predictions", "HKUSTCV/FSS-1000#20")(made_of.bounded)
check("weights of the loss", "tung-nd/stormer#4")(made_of.negative)
check("weights of the loss", "paninski-lab/lightning-pose#375")(made_of.twice)
REST.check("skipped checks")(told.unread)


@check("dimensions")
def dimensions(seen: Seen) -> Iterator[Finding]:
    """Find a softmax or argmax over the samples of a batch instead of the classes."""
    for entry in seen["over_batch"]:
        purpose = "returns the best sample of each class, not the best class of each sample"
        if "softmax" in entry["what"]:
            purpose = "compares the samples of a batch with each other"
        elif entry["what"] == "normalize":
            purpose = "divides each feature by its length over the batch, and not each sample by its own"
        yield wrong(
            f"{entry['what']} over dim={entry['dim']} of a batch {purpose}",
            f"the shape is {tuple(entry['shape'])}: samples, classes",
            "Write dim=1.",
        )


@check("inputs")
def inputs(seen: Seen) -> Iterator[Finding]:
    """Find inputs that are the same for every sample, or not finite."""
    found = seen.get("relation") or {}
    if not found or found["samples"] < 8:
        return
    if found["constant"]:
        yield wrong(
            f"the inputs of all samples are the same: {found['samples']} were compared",
            seen["places"].get("model", ""),
            "Print a few samples of the dataset, and check the index, the transform and the file that they are from.",
        )
    if not found["finite"]:
        yield wrong("inputs are NaN or infinite", seen["places"].get("model", ""), "Check the data for missing values.")


@check("labels")
def labels(seen: Seen) -> Iterator[Finding]:
    """Find labels that belong to another sample."""
    order = seen.get("order") or {}
    if order:
        agreement, chance = order["agreement"], order["chance"]
        best = max(agreement, key=lambda offset: agreement[offset])
        if best != "0" and agreement[best] > max(chance, agreement["0"]) + _CLEAR:
            which = "next" if int(best) > 0 else "previous"
            far = f", {abs(int(best))} away" if abs(int(best)) > 1 else ""
            yield wrong(
                f"the labels are shifted against the inputs: the label of a sample is stored with the {which} "
                f"sample{far}",
                f"similar inputs have the same label in {agreement['0']:.0%} of the cases, and in "
                f"{agreement[best]:.0%} with the labels moved back; by chance it is {chance:.0%}",
                "Read inputs and labels by the same index.",
            )
            return
    found = seen.get("relation") or {}
    if "related" not in found or found["constant"] or found["samples"] < _FEW or not trains(seen):
        return
    chance, number = found["chance"], min(512, found["samples"])
    limit = chance + 3 * math.sqrt(chance * (1 - chance) / number)
    if found["related"] < limit and not _learns_at_once(seen, found["guess"]) and not _is_too_small(seen):
        yield attention(
            "the labels have no relation to the inputs that could be seen: similar inputs do not have the same label "
            "more often than by chance",
            f"{found['related']:.0%} of {number} samples have the label of the most similar one, by chance it is "
            f"{chance:.0%}; in the first pass the loss is not below {found['guess']:.3g}, that of a guess",
            "Check that inputs and labels are shuffled in the same order, and read by the same index.",
        )


def _is_too_small(seen: Seen) -> bool:
    """Return whether the model learns the labels with fewer weights than there are samples: not by heart."""
    first = next((one for one in seen["loaders"] if one["learns"]), None)
    samples = (first and first["samples"]) or seen["relation"]["samples"]
    guess, last = seen["relation"]["guess"], seen["losses"][-max(1, len(seen["losses"]) // 10) :]
    learnt = bool(guess and None not in last) and sum(last) / len(last) < 0.7 * guess
    return learnt and seen.get("weights", math.inf) < samples


def _learns_at_once(seen: Seen, guess: float | None) -> bool:
    """Return whether the loss falls below that of a guess before any sample is seen twice."""
    first = next((one for one in seen["loaders"] if one["learns"]), None)
    batches = first["batches"] if first else None
    losses = seen["losses"][: batches or max(1, len(seen["losses"]) // 4)]
    last = losses[-max(1, len(losses) // 4) :]
    return bool(guess and last) and sum(last) / len(last) < 0.9 * guess  # type: ignore[operator]


check("sampling", "deep-voice/soundbay#49")(drawn.few)
check("shuffling", "ultralytics/yolov5#2582")(drawn.sorted_by_label)
check("validation data", "zoogzog/chexnet#27")(drawn.varying)
check("dataset", "facebookresearch/pycls#21")(drawn.in_place)
check("labels")(drawn.absent)
check("augmentation")(drawn.moved)


@check("ignored labels")
def ignored(seen: Seen) -> Iterator[Finding]:
    """Find labels that the loss ignores, all of them."""
    shares = [share for _, share in seen["ignored"]]
    if shares and min(shares) == 1.0:
        value = seen["ignored"][0][0]
        yield wrong(
            f"every label is {value}, which the loss ignores: nothing is left to learn, and the loss is nan or 0",
            f"the first {len(shares)} calls of the loss",
            "Look at where labels are masked: a prompt that fills the whole length leaves no answer.",
        )


@check("next tokens", "wdndev/tiny-llm-zh#10", "huggingface/transformers#44642")
def ahead(seen: Seen) -> Iterator[Finding]:
    """Find a language model that learns the token after the next one, since its labels are shifted twice."""
    found = seen["ahead"]
    # A model may have further heads for later tokens, beside the one for the next.
    if found and min(one["by"] for one in found) > 1:
        by, labels = found[0]["by"], found[0]["labels"]
        given = (
            "the labels that the model is given are shifted already, and its loss shifts them again"
            if labels
            else "the labels are shifted when they are made, and again for the loss"
        )
        yield wrong(
            f"the labels are shifted twice: the output at each token is compared with the token {by} ahead of it, so "
            "the model never learns the next one",
            f"{given}: {seen['places'].get('model', '')}",
            "Shift once. A model of transformers shifts the labels itself: its collator passes labels equal to "
            "input_ids.",
        )


@check("padding", "open-jarvis/OpenJarvis#521")
def padding(seen: Seen) -> Iterator[Finding]:
    """Find labels at positions that the attention mask hides."""
    if (share := seen["padded"]) > _MUCH_PADDING:
        yield wrong(
            f"{share:.0%} of the labels are padding, at positions that attention_mask hides: the loss counts them, and "
            "the model mostly learns to predict padding",
            f"labels that are not -100 where attention_mask is 0: {seen['places'].get('model', '')}",
            "Set the labels of padding to -100: labels[attention_mask == 0] = -100.",
        )


@check("attention mask", "coreweave/kubernetes-cloud#146")
def hidden(seen: Seen) -> Iterator[Finding]:
    """Find attention masks that hide every token."""
    if seen["hidden"] and min(seen["hidden"]) == 1.0:
        yield wrong(
            f"attention_mask is 0 at every token of all of the first {len(seen['hidden'])} batches: the model is told "
            "to attend to none of them",
            seen["places"].get("model", ""),
            "Set attention_mask to 1 for tokens and to 0 for padding: (input_ids != pad_token_id).long().",
        )


@check("replaced labels", "PhoebusSi/Alpaca-CoT#143")
def relabeled(seen: Seen) -> Iterator[Finding]:
    """Find a collator that gives labels to what the dataset has masked."""
    found = seen["relabeled"]
    if found and found["own"] > 2 * found["given"] + _MUCH_PADDING:
        yield wrong(
            f"the collator replaces the dataset's labels: {found['own']:.0%} of those are -100, and "
            f"{found['given']:.0%} in the batches, so that the loss counts what the dataset masks, such as prompts",
            f"the first samples and the first batch ({found['place']})",
            "Use a collator that keeps the labels, such as DataCollatorForSeq2Seq or "
            "DataCollatorForTokenClassification; DataCollatorForLanguageModeling makes them anew from input_ids.",
        )


@check("copied tokens", "huggingface/transformers#20797")
def copied(seen: Seen) -> Iterator[Finding]:
    """Find a masked language model whose loss counts the tokens that are not masked."""
    shares = seen["copied"]
    if shares and min(shares) > 0.5:
        yield attention(
            f"{min(shares):.0%} of the labels are equal to the input's token at the same position: most of the loss "
            "rewards copying the input, little of it the tokens that are masked",
            f"the first {len(shares)} calls of the loss",
            "For a masked language model, set the labels of all tokens that are not masked to -100: "
            "labels[input_ids != mask_token_id] = -100.",
        )


@check("decoder inputs", "huggingface/transformers#11977")
def given(seen: Seen) -> Iterator[Finding]:
    """Find a decoder that is given its labels as they are."""
    shares = seen["given"]
    if len(shares) >= 2 and min(shares) >= _ALL:
        yield wrong(
            "decoder_input_ids are equal to the labels, not shifted: the decoder reads the token that it has to "
            "predict, and learns to copy it, which is of no use in generation",
            f"the first {len(shares)} calls ({seen['places'].get('model', '')})",
            "Leave decoder_input_ids out: a model of transformers shifts the labels to the right itself. Or shift them "
            "by one, behind the start token.",
        )


@check("label encoding", "activetigger/activetigger#1030")
def exclusive(seen: Seen) -> Iterator[Finding]:
    """Find labels that exclude each other and are trained as if they did not."""
    found = seen["exclusive"]
    if found["rows"] >= _MANY and not found["others"]:
        yield attention(
            f"each of the first {found['rows']} rows of targets is one-hot, with exactly one class of "
            f"{found['classes']}, but the loss is binary cross-entropy ({found['loss']}): it takes each class for a "
            "question of its own",
            "the first calls of the loss",
            "Use cross-entropy with class indices, such as labels.argmax(1) as integers; a model of transformers then "
            'chooses it itself (problem_type="single_label_classification").',
        )


@check("classes")
def classes(seen: Seen) -> Iterator[Finding]:
    """Find labels that are all of one class."""
    if len(seen["classes"]) == 1 and seen["classified"] >= _MANY:
        yield attention(
            f"all of the first {seen['classified']} labels are class {seen['classes'][0]}, which is easy to learn",
            f"the first {len(seen['ignored'])} calls of the loss",
            "Look at how labels are read; if they are in the order of their classes, shuffle the training data.",
        )


@check("shared data")
def shared(seen: Seen) -> Iterator[Finding]:
    """Find a validation on the training data."""
    if trains(seen) and seen["validates_on_training"]:
        yield attention(
            "the validation uses the same data as the training: it can't show whether the model generalizes",
            seen["places"].get("evaluation", ""),
            "Give the validation a loader over samples that are held out.",
        )


@REST.check("warnings")
def warned(seen: Seen) -> Iterator[Finding]:
    """Report the warnings of torch, except those that the loop's own failure brings with it."""
    early = [text for text in seen["warned"] if "before `optimizer.step()`" in text]
    if early and trains(seen):
        yield attention(
            "the schedule is stepped before the optimizer, so its first rate is skipped",
            " ".join(early[0].split())[:300],
            "Call scheduler.step() after optimizer.step().",
        )
    yield from told.warned({**seen, "warned": [text for text in seen["warned"] if text not in early]})
