"""forward: the class scores that the model gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from faultlab.catalogue.injection_points import ModuleOutput
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injectors._floating import map_floating


def _scores(output: Any, ctx: Context, function: Callable[[torch.Tensor, int], torch.Tensor]) -> Any:
    """The output with its class scores mapped; the function is given them and the dimension of the classes.

    That is the one behind the samples where the labels have all the others, as for images, and else the last.
    """
    shapes = [leaf.shape[1:] for path, leaf in ctx.profile.leaves.items() if path in ctx.profile.labels]

    def mapped(tensor: torch.Tensor) -> torch.Tensor:
        spatial = tensor.dim() > 2 and tuple(tensor.shape[2:]) in shapes
        return function(tensor, 1 if spatial else -1) if tensor.dim() > 1 else tensor

    return map_floating(output, mapped)


@failure_mode(
    "forward.extra-class",
    seam=ModuleOutput,
    severity="minor",
    effect="silent",
    cause=("classes", "extra class", "output shape"),
    stages="every",
    needs=("class-labels", "class-scores"),
    evidence=("BVLC/caffe#3782",),
)
def add_class(output: Any, ctx: Context) -> Any:
    """The output has a class more than the labels.

    Effect: cross-entropy accepts it and pushes the extra class down; nobody says a word.
    Why it goes undetected: accuracy hardly suffers. What reads the outputs by position later, or shares the model with
    data of another number of classes, does.
    Example:
        self.head = nn.Linear(width, 11)        # ten digits, and a background class that no label has
    Remedy: take the number of classes from the data; assert it on the output.
    """
    return _scores(output, ctx, lambda scores, dim: torch.cat([scores, scores.mean(dim, keepdim=True)], dim))


@failure_mode(
    "forward.missing-class",
    seam=ModuleOutput,
    severity="major",
    effect="raises",
    cause=("classes", "missing class", "out of bounds", "output shape"),
    stages="every",
    needs=("class-labels", "class-scores"),
    evidence=("tensorflow/tensorflow#53436", "BVLC/caffe#3782"),
)
def drop_class(output: Any, ctx: Context) -> Any:
    """The output lacks the last of the labels' classes.

    Effect: on the CPU cross-entropy raises an IndexError, target out of bounds, at the first batch that holds the
    class; with balanced classes that is in the sanity check.
    Why it goes undetected: where the last class is rare, many batches pass before the first that holds it.
    Example:
        self.head = nn.Linear(width, labels.max())      # and not max() + 1
    Remedy: take the number of classes from the data, `labels.max() + 1` over all splits.
    """
    return _scores(output, ctx, lambda scores, dim: scores.narrow(dim, 0, max(1, scores.shape[dim] - 1)))


@failure_mode(
    "forward.double-softmax",
    seam=ModuleOutput,
    severity="critical",
    effect="silent",
    cause=("softmax", "logit", "probabilit"),
    stages="every",
    needs=("class-labels", "class-scores"),
    evidence=(
        "Lightning-Universe/lightning-bolts#654",
        "arXiv:1910.11015 (Humbatova et al.: redundant softmax layer)",
    ),
)
def softmax_twice(output: Any, ctx: Context) -> Any:
    """forward ends in a softmax, and cross-entropy applies another.

    Effect: the loss can't fall below `log(1 + (C - 1) / e)`, 1.46 for ten classes, and gradients are small; the model
    learns more slowly and pushes its logits to extremes, without a word.
    Why it goes undetected: the order of the classes is kept, so accuracy rises, and a loss that levels off looks like
    the end of what can be learnt.
    Example:
        return self.head(x).softmax(dim=-1)     # and then F.cross_entropy
    Remedy: return logits; compare the loss of an overfitted batch with 0.
    """
    return _scores(output, ctx, lambda scores, dim: scores.softmax(dim))
