"""What is wrong with the samples that a training gets: always the same few, sorted by label, changed in place."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

DRAWN = Checks()
# These draw each sample once; that there are few different ones is the dataset's own affair.
_EACH_ONCE = ("SequentialSampler", "RandomSampler", "NoneType")
_FEW = 4
"""An epoch that has less than one different sample in so many is one of repetitions."""


@DRAWN.check("samples are drawn from all", "deep-voice/soundbay#49")
def few(seen: Seen) -> Iterator[Finding]:
    """A sampler that comes back to the same few samples of a larger dataset."""
    found = seen.get("samples") or {}
    different, given, total = found.get("different", 0), found.get("given", 0), found.get("samples")
    weights, sampler = found.get("weights"), found.get("sampler", "")
    if not total or not different or sampler in _EACH_ONCE or seen.get("trainer", {}).get("overfit_batches"):
        return
    if _FEW * different > min(given, total):
        return
    if weights is not None and weights < total:
        yield wrong(
            f"{sampler} has {weights} weights for the {total} samples of the dataset, and draws none but the first "
            f"{weights}: weights count samples, not classes",
            f"{given} samples of the first epoch are {different} different ones",
            "Give it a weight for each sample: class_weights[labels], with the labels of the whole dataset.",
        )
    else:
        yield attention(
            f"{sampler} draws the same few samples again and again: {different} of {total}",
            f"{given} samples of the first epoch are {different} different ones",
            "Look at the indices that it yields: they have to reach over the whole dataset.",
        )


@DRAWN.check("batches hold several labels", "ultralytics/yolov5#2582")
def sorted_by_label(seen: Seen) -> Iterator[Finding]:
    """A dataset sorted by its labels, read in that order."""
    found = seen.get("samples") or {}
    batches, alike, labels = found.get("labelled", 0), found.get("alike", 0), found.get("labels", 0)
    # Whole numbers that no loss takes for classes may be anything.
    if not 1 < labels <= (seen.get("labels") or {}).get("classes", 0):
        return
    if found.get("sampler") == "SequentialSampler" and batches >= 2 * labels and alike >= 0.75 * batches:
        yield wrong(
            f"the dataset is sorted by label and not shuffled: {alike} of {batches} batches hold one label alone, of "
            f"{labels} in all",
            "SequentialSampler",
            "Give the training loader shuffle=True.",
        )


@DRAWN.check("validation is the same each time", "zoogzog/chexnet#27")
def varying(seen: Seen) -> Iterator[Finding]:
    """A dataset for validation that draws."""
    if (seen.get("samples") or {}).get("validation_varies"):
        yield attention(
            "the dataset for validation gives another value of a sample each time: validation is random, as it is with "
            "augmentation, and its values of two epochs are not those of the same data",
            "dataset[0] of the validation loader, asked twice",
            "Give validation a dataset of its own without random augmentation; or draw by a generator that the index "
            "seeds.",
        )


@DRAWN.check("samples stay what they are", "facebookresearch/pycls#21")
def in_place(seen: Seen) -> Iterator[Finding]:
    """A dataset whose __getitem__ works on what it keeps."""
    if (seen.get("samples") or {}).get("changes"):
        yield wrong(
            "the dataset changes its own data in place: each time it is asked it gives other values for a sample",
            "what dataset[0] gave is changed by the next dataset[0]",
            "Have __getitem__ work on a copy: .clone() of a tensor, .copy() of an array; or write x = x - mean "
            "for x -= mean.",
        )
