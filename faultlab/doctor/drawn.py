"""Problems with a training's samples: always the same few, sorted by label, modified in place."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

DRAWN = Checks()
# These draw each sample once; if few of them differ, the dataset is made that way.
_EACH_ONCE = ("SequentialSampler", "RandomSampler", "NoneType")
_FEW = 4
"""A first epoch is repetitive if fewer than one sample in this many is different."""
_FEW_CLASSES, _EACH = 20, 20


@DRAWN.check("sampling", "deep-voice/soundbay#49")
def few(seen: Seen) -> Iterator[Finding]:
    """Find a sampler that keeps drawing the same few samples of a larger dataset."""
    found = seen.get("samples") or {}
    different, given, total = found.get("different", 0), found.get("given", 0), found.get("samples")
    weights, sampler = found.get("weights"), found.get("sampler", "")
    if not total or not different or sampler in _EACH_ONCE or seen.get("trainer", {}).get("overfit_batches"):
        return
    if _FEW * different > min(given, total):
        return
    if weights is not None and weights < total:
        yield wrong(
            f"{sampler} has {weights} weights for the {total} samples of the dataset, and draws only the first "
            f"{weights}: there must be one weight per sample, not per class",
            f"the {given} samples of the first epoch are {different} different ones",
            "Give it one weight per sample: class_weights[labels], with the labels of the whole dataset.",
        )
    else:
        yield attention(
            f"{sampler} draws the same few samples again and again: {different} of {total}",
            f"the {given} samples of the first epoch are {different} different ones",
            "Make its indices cover the whole dataset.",
        )


@DRAWN.check("shuffling", "ultralytics/yolov5#2582")
def sorted_by_label(seen: Seen) -> Iterator[Finding]:
    """Find a dataset that is sorted by label and read in that order."""
    found = seen.get("samples") or {}
    batches, alike, labels = found.get("labelled", 0), found.get("alike", 0), found.get("labels", 0)
    # Integers that no loss takes as classes may be anything.
    if not 1 < labels <= (seen.get("labels") or {}).get("classes", 0):
        return
    if found.get("sampler") == "SequentialSampler" and batches >= 2 * labels and alike >= 0.75 * batches:
        yield wrong(
            f"the dataset is sorted by label and not shuffled: {alike} of {batches} batches hold a single label, of "
            f"{labels} in all",
            "SequentialSampler",
            "Set shuffle=True on the training loader.",
        )


@DRAWN.check("held-out samples", "ratschlab/aestetik#8")
def held_out(seen: Seen) -> Iterator[Finding]:
    """Find validation samples that are in the training set as well."""
    found = (seen.get("samples") or {}).get("shared") or {}
    if found.get("shared"):
        yield wrong(
            f"{found['shared']} of {found['of']} validation samples are in the training set as well: the validation "
            "metrics are those of samples that were trained on",
            "the training and validation sets take the same indices of one dataset",
            "Give the training loader the training part of the split, such as self.train_dataset, not the whole set; "
            "split it once, with a fixed generator.",
        )


@DRAWN.check("labels")
def one_label(seen: Seen) -> Iterator[Finding]:
    """Find a dataset all of whose labels are the same."""
    found, classes = seen.get("samples") or {}, (seen.get("labels") or {}).get("classes", 0)
    if found.get("labels") == 1 and found.get("labelled", 0) > 1 and classes > 1:
        yield wrong(
            f"all labels of the first epoch are the same, of {classes} classes: the network learns to say it always",
            f"{found['given']} samples",
            "Check how the labels are read: a column, a folder or a mapping that gives each sample the same one.",
        )


@DRAWN.check("validation data", "zoogzog/chexnet#27")
def varying(seen: Seen) -> Iterator[Finding]:
    """Find a validation dataset that draws at random."""
    if (seen.get("samples") or {}).get("validation_varies"):
        yield attention(
            "the validation dataset returns another value for the same sample each time: validation is random, as "
            "with augmentation, so two epochs are not evaluated on the same data",
            "dataset[0] of the validation loader, read twice",
            "Use a separate dataset without random augmentation for validation, or draw from a generator seeded by "
            "the index.",
        )


@DRAWN.check("dataset", "facebookresearch/pycls#21")
def in_place(seen: Seen) -> Iterator[Finding]:
    """Find a dataset whose __getitem__ modifies what it stores."""
    if (seen.get("samples") or {}).get("changes"):
        yield wrong(
            "the dataset modifies its own data in place: it returns other values for the same sample each time",
            "reading dataset[0] again changes the value that it returned before",
            "Make __getitem__ work on a copy: .clone() of a tensor, .copy() of an array, or x = x - mean instead "
            "of x -= mean.",
        )


@DRAWN.check("labels")
def absent(seen: Seen) -> Iterator[Finding]:
    """Find a class of a few that no sample has."""
    found, classes = seen.get("samples") or {}, (seen.get("labels") or {}).get("classes", 0)
    present = set(found.get("present", ()))
    missing = sorted(set(range(classes)) - present)
    if classes > _FEW_CLASSES or len(present) < 2 or found["given"] < _EACH * classes or not missing:
        return
    several = len(missing) > 1
    yield attention(
        f"no sample has a label of class{'es' * several} {', '.join(map(str, missing))}: the model has {classes} "
        f"outputs, and the labels are {', '.join(map(str, sorted(present)))}",
        f"{found['given']} samples of the first epoch",
        "Check how labels are made: renaming them one after the other merges classes (y[y == 1] = 3 before y[y == 3] "
        "= 1), which one mapping of the original labels does not; or give the model as many outputs as there are "
        "classes.",
    )


@DRAWN.check("augmentation")
def moved(seen: Seen) -> Iterator[Finding]:
    """Find a dataset that flips or turns the input of a sample without its target, or the reverse."""
    if name := (seen.get("samples") or {}).get("moved"):
        other = "target" if name == "input" else "input"
        yield wrong(
            f"the dataset moves the {name} of a sample at random, as by a flip or a rotation, and not its {other}, "
            "such as a mask, although both have the same height and width: they do not belong together",
            f"the same sample, read again, has the same values in the {name} at other places, and the same {other}",
            "Apply the same flip, with the same random draw, to both: the input and its target (mask).",
        )
