"""What a failure mode needs of its target, as named requirements judged from the recon, never by guess."""

from __future__ import annotations

from collections.abc import Callable

from faultlab.catalogue import Registered
from faultlab.recon import ACTIVATIONS, DENSE, NORMALISATIONS, Leaf, Recon

Requirement = Callable[[Recon], str]

REQUIREMENTS: dict[str, Requirement] = {}


def requirement(name: str) -> Callable[[Requirement], Requirement]:
    """Registers a requirement: a function that says why the target does not meet it, or returns an empty string."""

    def register(check: Requirement) -> Requirement:
        REQUIREMENTS[name] = check
        return check

    return register


def inapplicable(registered: Registered, recon: Recon) -> str:
    """Why the failure mode can't apply to this target, in words, or an empty string."""
    reason = registered.seam.inapplicable(recon)
    for name in registered.mode.needs:
        reason = reason or REQUIREMENTS[name](recon)
    if not reason and registered.mode.judged_by == "reload":
        reason = recon.unreloadable
    if not reason and registered.mode.stages == ("validate",) and not recon.validation_batches:
        reason = "there is no validation loop"
    return reason


@requirement("automatic-optimization")
def _automatic(recon: Recon) -> str:
    return "" if recon.automatic else "the module optimises manually"


@requirement("validation")
def _validation(recon: Recon) -> str:
    return "" if recon.validation_batches else "there is no validation loop"


@requirement("loss-returned")
def _loss_returned(recon: Recon) -> str:
    return "" if recon.output in ("tensor", "dict") else "training_step returns no loss"


@requirement("inputs")
def _inputs(recon: Recon) -> str:
    return "" if recon.inputs else "no part of the batch is used as inputs"


@requirement("labels")
def _labels(recon: Recon) -> str:
    return "" if recon.labels else "no part of the batch is used as labels"


@requirement("class-labels")
def _class_labels(recon: Recon) -> str:
    if reason := _labels(recon):
        return reason
    return "" if any(leaf.kind == "integer" for leaf in _leaves(recon, recon.labels)) else "the labels are no classes"


@requirement("real-labels")
def _real_labels(recon: Recon) -> str:
    if reason := _labels(recon):
        return reason
    return "" if any(leaf.kind == "floating" for leaf in _leaves(recon, recon.labels)) else "the labels are classes"


@requirement("several-samples")
def _several_samples(recon: Recon) -> str:
    return _sample_dimension(recon) or ("" if (recon.batch_size or 0) > 1 else "a batch holds a single sample")


@requirement("clipped-gradients")
def _clipped_gradients(recon: Recon) -> str:
    return "" if recon.clips else "no gradient is clipped in the clean run"


@requirement("several-steps")
def _several_steps(recon: Recon) -> str:
    return "" if recon.steps > 1 else "the run has a single step"


@requirement("sequence-batch")
def _sequence_batch(recon: Recon) -> str:
    return "" if recon.batch == "tuple" else f"the batch is a {recon.batch}, not a tuple or list"


@requirement("batch-parts")
def _batch_parts(recon: Recon) -> str:
    return "" if recon.batch in ("tuple", "dict") else f"the batch is a {recon.batch}, not a tuple or dict"


@requirement("several-features")
def _several_features(recon: Recon) -> str:
    wide = [leaf for leaf in _leaves(recon, recon.contents) if len(leaf.shape) > 1 and leaf.shape[-1] > 1]
    return "" if wide else "the inputs have no feature dimension"


@requirement("sample-dimension")
def _sample_dimension(recon: Recon) -> str:
    return "the batch has no dimension of samples" if recon.batch_size is None else ""


@requirement("several-tensors")
def _several_tensors(recon: Recon) -> str:
    return "" if len(recon.leaves) > 1 else "the batch holds a single tensor"


@requirement("more-than-inputs")
def _more_than_inputs(recon: Recon) -> str:
    parts = {path.partition(".")[0] for path in recon.leaves}
    used = {path.partition(".")[0] for path in recon.inputs}
    return _batch_parts(recon) or _inputs(recon) or ("" if parts - used else "every part of the batch is an input")


@requirement("single-precision-inputs")
def _single_precision_inputs(recon: Recon) -> str:
    single = any(leaf.dtype == "float32" for leaf in _leaves(recon, recon.contents))
    return "" if single else "the inputs hold no float32 tensor"


@requirement("matrix-inputs")
def _matrix_inputs(recon: Recon) -> str:
    shapes = [leaf.shape for leaf in _leaves(recon, recon.contents)]
    turned = any(len(shape) > 1 and max(shape[len(shape) > 2 :]) > 1 for shape in shapes)
    return "" if turned else "the inputs have no two dimensions to exchange"


@requirement("varied-inputs")
def _varied_inputs(recon: Recon) -> str:
    return "" if any(_varied(leaf) for leaf in _leaves(recon, recon.contents)) else "the inputs all have one value"


@requirement("nonzero-inputs")
def _nonzero_inputs(recon: Recon) -> str:
    return "" if any(leaf.low or leaf.high for leaf in _leaves(recon, recon.contents)) else "the inputs are all zero"


@requirement("several-labels")
def _several_labels(recon: Recon) -> str:
    rows = [leaf.shape[0] for leaf in _leaves(recon, recon.labels) if leaf.shape]
    return _labels(recon) or ("" if max(rows, default=0) > 1 else "a batch holds a single label")


@requirement("varied-labels")
def _varied_labels(recon: Recon) -> str:
    varied = any(_varied(leaf) for leaf in _leaves(recon, recon.labels))
    return _labels(recon) or ("" if varied else "the labels all have one value")


@requirement("several-classes")
def _several_classes(recon: Recon) -> str:
    varied = any(_varied(leaf) and leaf.kind == "integer" for leaf in _leaves(recon, recon.labels))
    return _class_labels(recon) or ("" if varied else "the labels are all of one class")


@requirement("numbered-classes")
def _numbered_classes(recon: Recon) -> str:
    numbered = any(leaf.kind == "integer" and leaf.dtype != "bool" for leaf in _leaves(recon, recon.labels))
    return _class_labels(recon) or ("" if numbered else "the labels are true or false, which have no range to leave")


@requirement("class-per-sample")
def _class_per_sample(recon: Recon) -> str:
    shapes = [leaf.shape for leaf in _leaves(recon, recon.labels) if leaf.kind == "integer" and _varied(leaf)]
    alone = any(shape in ((recon.batch_size,), (recon.batch_size, 1)) for shape in shapes)
    return _several_classes(recon) or ("" if alone else "the labels are not one class a sample")


@requirement("coded-classes")
def _coded_classes(recon: Recon) -> str:
    leaves = [leaf for leaf in _leaves(recon, recon.labels) if _varied(leaf)]
    coded = any(leaf.kind == "integer" or _indicators(leaf) for leaf in leaves)
    return _labels(recon) or ("" if coded else "the labels are neither class numbers nor one-hot")


@requirement("broadcastable-labels")
def _broadcastable_labels(recon: Recon) -> str:
    shapes = [leaf.shape for leaf in _leaves(recon, recon.labels) if leaf.kind == "floating"]
    columns = any(shape and shape[0] > 1 and shape[1:] in ((), (1,)) for shape in shapes)
    return _real_labels(recon) or ("" if columns else "the labels are no single column of numbers")


def _varied(leaf: Leaf) -> bool:
    # NaN among the values makes both bounds NaN, which differ: they vary.
    return leaf.low is not None and leaf.low != leaf.high


def _indicators(leaf: Leaf) -> bool:
    """One column a class, as one-hot labels have."""
    return len(leaf.shape) == 2 and leaf.shape[1] > 1 and (leaf.low, leaf.high) == (0, 1)


@requirement("class-scores")
def _class_scores(recon: Recon) -> str:
    return "" if (recon.outputs_per_sample or 0) > 1 else "the output has no dimension of classes"


@requirement("several-layers")
def _several_layers(recon: Recon) -> str:
    # A weight and a bias make one layer.
    return "" if recon.trainable_tensors > 2 else "the module has a single layer"


@requirement("several-optimized")
def _several_optimized(recon: Recon) -> str:
    return "" if recon.optimized_tensors > 1 else "the optimizers hold a single parameter of the module"


@requirement("epsilon")
def _epsilon(recon: Recon) -> str:
    return "" if "eps" in recon.optimizer_settings else "no optimizer has an epsilon"


@requirement("weight-decay")
def _weight_decay(recon: Recon) -> str:
    return "" if "weight_decay" in recon.optimizer_settings else "no optimizer has weight decay"


@requirement("optimizer-state")
def _optimizer_state(recon: Recon) -> str:
    if not recon.optimizer_state or recon.first_update is None:
        return "no optimizer remembers anything from step to step"
    return "" if recon.first_update < recon.steps // 2 else "no optimizer is stepped in the first half of the run"


@requirement("scheduler")
def _scheduler(recon: Recon) -> str:
    return "" if recon.schedulers else "no scheduler is configured"


@requirement("epoch-scheduler")
def _epoch_scheduler(recon: Recon) -> str:
    per_epoch = "epoch" in recon.scheduler_intervals
    return _scheduler(recon) or ("" if per_epoch else "no scheduler is stepped once an epoch")


@requirement("training-after-validation")
def _training_after_validation(recon: Recon) -> str:
    if recon.first_validation is None:
        return "there is no validation loop"
    return "" if recon.first_validation < recon.steps - 1 else "no training follows the first validation"


@requirement("several-epochs")
def _several_epochs(recon: Recon) -> str:
    return "" if recon.epochs > 1 else "the run has a single epoch"


@requirement("frozen-parameters")
def _frozen_parameters(recon: Recon) -> str:
    return "" if recon.frozen_tensors else "no parameter is frozen"


@requirement("floating-buffers")
def _floating_buffers(recon: Recon) -> str:
    return "" if recon.floating_buffers else "the module has no buffer of floating-point numbers"


@requirement("dense-layer")
def _dense_layer(recon: Recon) -> str:
    return _of_kinds(recon, DENSE, "linear or convolutional layer")


@requirement("neurons")
def _neurons(recon: Recon) -> str:
    wide = any(part.width > 1 and part.kind in ("linear", "convolution") for part in recon.parts.values())
    return "" if wide else "no linear or convolutional layer has two neurons"


@requirement("biased-layer")
def _biased_layer(recon: Recon) -> str:
    found = any(part.biased and part.kind in DENSE for part in recon.parts.values())
    return "" if found else "no linear or convolutional layer has a bias"


@requirement("unbiased-layer")
def _unbiased_layer(recon: Recon) -> str:
    found = any(part.width and not part.biased and part.kind in DENSE for part in recon.parts.values())
    return "" if found else "every linear or convolutional layer has a bias"


@requirement("steady-layer")
def _steady_layer(recon: Recon) -> str:
    return "" if recon.steady else "no layer with weights gives the shape that it takes"


@requirement("weighted-layer")
def _weighted_layer(recon: Recon) -> str:
    return "" if recon.weighted else "no layer has weights of its own"


@requirement("activation")
def _activation(recon: Recon) -> str:
    found = any(part.steady and part.kind in ACTIVATIONS for part in recon.parts.values())
    return "" if found else "no activation is a layer of its own"


@requirement("relu")
def _relu(recon: Recon) -> str:
    found = any(recon.parts[path].biased for path in recon.fed("relu"))
    return "" if found else "no layer with a bias feeds a ReLU that is a layer of its own"


@requirement("bounded-activation")
def _bounded_activation(recon: Recon) -> str:
    return "" if recon.fed("bounded") else "no layer with weights feeds a sigmoid or tanh that is a layer of its own"


@requirement("dropout")
def _dropout(recon: Recon) -> str:
    return _of_kinds(recon, ("dropout",), "dropout layer that drops anything")


@requirement("normalisation")
def _normalisation(recon: Recon) -> str:
    return _of_kinds(recon, NORMALISATIONS, "normalising layer")


@requirement("batchnorm")
def _batchnorm(recon: Recon) -> str:
    return _of_kinds(recon, ("batchnorm",), "batch normalisation that keeps running statistics")


@requirement("pooling")
def _pooling(recon: Recon) -> str:
    return _of_kinds(recon, ("pooling",), "pooling layer")


def _of_kinds(recon: Recon, kinds: tuple[str, ...], name: str) -> str:
    return "" if any(part.kind in kinds for part in recon.parts.values()) else f"there is no {name}"


def _leaves(recon: Recon, paths: tuple[str, ...]) -> list[Leaf]:
    return [recon.leaves[path] for path in paths if path in recon.leaves]
