"""What a failure mode needs of its target, as named requirements judged from the recon, never by guess."""

from __future__ import annotations

from collections.abc import Callable

from faultlab.catalogue import Registered
from faultlab.recon import Leaf, Recon

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
    return "" if (recon.batch_size or 0) > 1 else "a batch holds a single sample"


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
    wide = [leaf for leaf in _leaves(recon, recon.inputs) if len(leaf.shape) > 1 and leaf.shape[-1] > 1]
    return "" if wide else "the inputs have no feature dimension"


def _leaves(recon: Recon, paths: tuple[str, ...]) -> list[Leaf]:
    return [recon.leaves[path] for path in paths if path in recon.leaves]
