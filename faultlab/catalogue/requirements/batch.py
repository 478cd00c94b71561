"""Requirements on the batch: its parts, its inputs and labels, its classes."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core.part_facts import Leaf, is_binary_column
from faultlab.core.target_profile import NO_BATCH, TargetProfile


@requirement("inputs")
def _inputs(profile: TargetProfile) -> str:
    return "" if profile.inputs else "no part of the batch is used as an input"


@requirement("labels")
def _labels(profile: TargetProfile) -> str:
    return profile.unlabelled


@requirement("class-labels")
def _class_labels(profile: TargetProfile) -> str:
    if reason := _labels(profile):
        return reason
    whole = any(leaf.kind == "integer" for leaf in _leaves(profile, profile.labels))
    return "" if whole else "the labels are not class numbers of an integer type"


@requirement("class-column")
def _class_column(profile: TargetProfile) -> str:
    return _labels(profile) or ("" if _class_leaves(profile) else "the labels are not classes")


@requirement("real-labels")
def _real_labels(profile: TargetProfile) -> str:
    if reason := _labels(profile):
        return reason
    return "" if any(leaf.kind == "floating" for leaf in _leaves(profile, profile.labels)) else "the labels are classes"


@requirement("several-samples")
def _several_samples(profile: TargetProfile) -> str:
    return _sample_dimension(profile) or ("" if (profile.batch_size or 0) > 1 else "a batch holds a single sample")


@requirement("sequence-batch")
def _sequence_batch(profile: TargetProfile) -> str:
    return "" if profile.batch == "tuple" else f"the batch is {_named(profile.batch)}, not a tuple or list"


@requirement("batch-parts")
def _batch_parts(profile: TargetProfile) -> str:
    return "" if profile.batch in ("tuple", "dict") else f"the batch is {_named(profile.batch)}, not a tuple or dict"


@requirement("several-features")
def _several_features(profile: TargetProfile) -> str:
    wide = [leaf for leaf in _leaves(profile, profile.contents) if len(leaf.shape) > 1 and leaf.shape[-1] > 1]
    return "" if wide else "no part of the inputs has several features"


@requirement("sample-dimension")
def _sample_dimension(profile: TargetProfile) -> str:
    return "the batch has no sample dimension" if profile.batch_size is None else ""


@requirement("samples-apart")
def _samples_apart(profile: TargetProfile) -> str:
    return (
        "the samples of a batch are joined, as graphs are, and cannot be taken out one by one" if profile.joins else ""
    )


@requirement("differing-batches")
def _differing_batches(profile: TargetProfile) -> str:
    if profile.batch == NO_BATCH:
        return "no loader yields the batches"
    return "" if profile.batches_differ else "every step of the clean run receives the same batch"


@requirement("kept-lists")
def _kept_lists(profile: TargetProfile) -> str:
    return "" if profile.keeps_lists else "the container of the batch stacks every list that it receives"


@requirement("unequal-tensors")
def _unequal_tensors(profile: TargetProfile) -> str:
    if len(profile.leaves) < 2:
        return "the batch holds a single tensor"
    # Language models learn to repeat their inputs, shifted by themselves.
    values = {path: leaf.repeats or path for path, leaf in profile.leaves.items()}
    copied = {values.get(path) for path in profile.contents} & {values.get(path) for path in profile.labels}
    return "the labels are a copy of the inputs" if copied else ""


@requirement("more-than-inputs")
def _more_than_inputs(profile: TargetProfile) -> str:
    parts = {path.partition(".")[0] for path in profile.leaves}
    used = {path.partition(".")[0] for path in profile.inputs}
    return _batch_parts(profile) or _inputs(profile) or ("" if parts - used else "every part of the batch is an input")


@requirement("single-precision-inputs")
def _single_precision_inputs(profile: TargetProfile) -> str:
    single = any(leaf.dtype == "float32" for leaf in _leaves(profile, profile.contents))
    return "" if single else "the inputs contain no float32 tensor"


@requirement("matrix-inputs")
def _matrix_inputs(profile: TargetProfile) -> str:
    shapes = [leaf.shape for leaf in _leaves(profile, profile.contents)]
    turned = any(len(shape) > 1 and max(shape[len(shape) > 2 :]) > 1 for shape in shapes)
    return "" if turned else "no input has two dimensions that could be exchanged"


@requirement("image-inputs")
def _image_inputs(profile: TargetProfile) -> str:
    shapes = [leaf.shape for leaf in _leaves(profile, profile.contents) if leaf.kind == "floating"]
    images = any(len(shape) == 4 and max(shape[2:]) > 1 for shape in shapes)
    return "" if images else "the inputs contain no images: no floating-point tensor has four dimensions"


@requirement("transferred-part")
def _transferred_part(profile: TargetProfile) -> str:
    if not profile.transfers:
        return "the module's transfer_batch_to_device is not called in training"
    return "" if profile.movable else "no input or label is a floating-point tensor"


@requirement("varied-inputs")
def _varied_inputs(profile: TargetProfile) -> str:
    return "" if any(_varied(leaf) for leaf in _leaves(profile, profile.contents)) else "all inputs have the same value"


@requirement("validation-alike")
def _validation_alike(profile: TargetProfile) -> str:
    if not profile.validation_leaves:
        return "no batch of validation was seen"
    alike = set(profile.labels or profile.leaves) <= set(profile.validation_leaves)
    return "" if alike else "the batches of validation are built differently from those of training"


@requirement("nonzero-labels")
def _nonzero_labels(profile: TargetProfile) -> str:
    leaves = [leaf for leaf in _leaves(profile, profile.labels) if leaf.kind == "floating"]
    return _real_labels(profile) or ("" if any(leaf.low or leaf.high for leaf in leaves) else "all labels are zero")


@requirement("nonzero-inputs")
def _nonzero_inputs(profile: TargetProfile) -> str:
    return "" if any(leaf.low or leaf.high for leaf in _leaves(profile, profile.contents)) else "all inputs are zero"


@requirement("several-labels")
def _several_labels(profile: TargetProfile) -> str:
    rows = [leaf.shape[0] for leaf in _leaves(profile, profile.labels) if leaf.shape]
    return _labels(profile) or ("" if max(rows, default=0) > 1 else "a batch holds a single label")


@requirement("varied-labels")
def _varied_labels(profile: TargetProfile) -> str:
    varied = any(_varied(leaf) for leaf in _leaves(profile, profile.labels))
    return _labels(profile) or ("" if varied else "all labels have the same value")


@requirement("several-classes")
def _several_classes(profile: TargetProfile) -> str:
    varied = any(_varied(leaf) for leaf in _class_leaves(profile))
    return _class_column(profile) or ("" if varied else "all labels are of the same class")


@requirement("numbered-classes")
def _numbered_classes(profile: TargetProfile) -> str:
    numbered = any(leaf.kind == "integer" and leaf.dtype != "bool" for leaf in _leaves(profile, profile.labels))
    return _class_labels(profile) or ("" if numbered else "the labels are Boolean, so none can be out of range")


@requirement("class-per-sample")
def _class_per_sample(profile: TargetProfile) -> str:
    shapes = [leaf.shape for leaf in _class_leaves(profile) if _varied(leaf)]
    alone = any(shape in ((profile.batch_size,), (profile.batch_size, 1)) for shape in shapes)
    return _several_classes(profile) or ("" if alone else "the labels are not one class per sample")


@requirement("coded-classes")
def _coded_classes(profile: TargetProfile) -> str:
    leaves = [leaf for leaf in _leaves(profile, profile.labels) if _varied(leaf)]
    coded = any(leaf.kind == "integer" or _indicators(leaf) for leaf in leaves)
    return _labels(profile) or ("" if coded else "the labels are neither class numbers nor one-hot")


@requirement("broadcastable-labels")
def _broadcastable_labels(profile: TargetProfile) -> str:
    shapes = [leaf.shape for leaf in _leaves(profile, profile.labels) if leaf.kind == "floating"]
    columns = any(shape and shape[0] > 1 and shape[1:] in ((), (1,)) for shape in shapes)
    return _real_labels(profile) or ("" if columns else "the labels are not a single column of numbers")


def _named(kind: str) -> str:
    return {"object": "an object of its own class", "none": "unknown, since no loader yields it"}.get(kind, f"a {kind}")


def _varied(leaf: Leaf) -> bool:
    # A NaN among the values makes both bounds NaN, which are unequal, so such values count as varied.
    return leaf.low is not None and leaf.low != leaf.high


def _class_leaves(profile: TargetProfile) -> list[Leaf]:
    """Return the labels that are classes: whole numbers, or a column of floats that are 0 or 1."""
    labels = _leaves(profile, profile.labels)
    whole = [leaf for leaf in labels if leaf.kind == "integer"]
    return whole or [leaf for leaf in labels if is_binary_column(leaf, profile.batch_size)]


def _indicators(leaf: Leaf) -> bool:
    """Return whether the leaf has one column per class, as one-hot labels have."""
    return len(leaf.shape) == 2 and leaf.shape[1] > 1 and (leaf.low, leaf.high) == (0, 1)


def _leaves(profile: TargetProfile, paths: tuple[str, ...]) -> list[Leaf]:
    return [profile.leaves[path] for path in paths if path in profile.leaves]
