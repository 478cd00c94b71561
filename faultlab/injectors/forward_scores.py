"""forward: failure modes of the class scores that the model returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from faultlab.catalogue.injection_points import ModuleOutput
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injectors._floating import map_floating


def _scores(output: Any, ctx: Context, function: Callable[[torch.Tensor, int], torch.Tensor]) -> Any:
    """Return the output with its class scores mapped by a function of the scores and the dimension of the classes.

    This is dimension 1 if the labels have all dimensions behind it, as for images, and otherwise the last one.
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
    """The output has one class more than the labels.

    Effect: cross-entropy accepts it and learns to suppress the extra class. No error or warning is raised.
    Why it goes undetected: accuracy hardly suffers. The consequences come later, for code that reads the outputs by
    position or shares the model with data that has a different number of classes.
    Example:
        self.head = nn.Linear(width, 11)        # ten digits, plus a background class that no label has
    Remedy: derive the number of classes from the data; assert it on the output.
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

    Effect: on the CPU, cross-entropy raises an `IndexError`, target out of bounds, at the first batch that contains the
    class; with balanced classes, that is in the sanity check.
    Why it goes undetected: if the last class is rare, many batches pass before the first one that contains it.
    Example:
        self.head = nn.Linear(width, labels.max())      # instead of max() + 1
    Remedy: derive the number of classes from the data: `labels.max() + 1` over all splits.
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
    """`forward` ends in a softmax, and cross-entropy applies another one.

    Effect: the loss cannot fall below `log(1 + (C - 1) / e)`, which is 1.46 for ten classes, and gradients are small.
    The model learns more slowly and pushes its logits to extremes. No error or warning is raised.
    Why it goes undetected: the order of the classes is preserved, so accuracy rises, and a loss that levels off looks
    like the limit of what can be learned.
    Example:
        return self.head(x).softmax(dim=-1)     # followed by F.cross_entropy
    Remedy: return logits; compare the loss of an overfitted batch with 0.
    """
    return _scores(output, ctx, lambda scores, dim: scores.softmax(dim))
