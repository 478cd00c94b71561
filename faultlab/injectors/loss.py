"""loss: failure modes of the loss that training minimizes."""

from __future__ import annotations

import math
from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Loss, ModuleOutput
from faultlab.injection import tree
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "loss.nan",
    seam=Loss,
    severity="critical",
    effect="silent",
    cause=("nan", "finite"),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#4956", "motional/nuplan-devkit#91", "huggingface/trl#6702"),
)
def nan_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The loss of one batch is NaN.

    Effect: every gradient is NaN and, after this step, so is every parameter that the loss reaches. The run continues
    to its end. No error or warning is raised.
    Why it goes undetected: Lightning does not check the loss, and `argmax` of NaN is a class like any other, so
    accuracy is a number. The Trainer of transformers (5.24.0) even leaves the batch out of the loss that it logs: its
    `logging_nan_inf_filter` is on by default, and changes nothing but the log
    (https://github.com/huggingface/transformers/blob/00349ae/src/transformers/training_args.py).
    Example:
        loss = (errors * mask).sum() / mask.sum()       # a batch with nothing to learn from
    Remedy: stop at a non-finite loss. With Lightning, use `EarlyStopping(check_finite=True)` on the training loss, or
    `detect_anomaly=True`.
    """
    return loss * torch.nan


@failure_mode(
    "loss.infinite",
    seam=Loss,
    severity="minor",
    effect="silent",
    cause=("inf", "finite"),
    when="middle",
    evidence=("arXiv:2204.00694 (TheDeepChecker: infinite loss)",),
)
def infinite_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The loss of one batch is infinite, because of a term without a gradient.

    Effect: the gradients are those of the correct loss, and training continues as if nothing were wrong; only a mean
    that includes the loss is infinite from then on.
    Why it goes undetected: no parameter is harmed, and the logged loss is often a different tensor.
    Example:
        loss = loss + torch.tensor(prior).log()         # a prior of 0
    Remedy: stop at a non-finite loss, and check the returned loss, not only the logged one.
    """
    return loss + torch.inf


@failure_mode(
    "loss.times-infinity",
    seam=Loss,
    severity="critical",
    effect="silent",
    cause=("nan", "inf", "finite"),
    when="middle",
    no_evidence="a probe beside loss.infinite: the same infinite value, but here it multiplies every gradient too",
)
def infinite_factor(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The loss of one batch is multiplied by infinity.

    Effect: gradients are infinite, and NaN where they were zero or where infinities cancel; after this step parameters
    are NaN. The run continues to its end. No error or warning is raised.
    Why it goes undetected: a check for NaN passes on the loss itself, which is infinite.
    Example:
        loss = loss / weights.sum()             # all weights of the batch are 0
    Remedy: check with `torch.isfinite`, which covers both; skip the optimizer step if a gradient is not finite.
    """
    return loss * torch.inf


@failure_mode(
    "loss.negated",
    seam=Loss,
    severity="critical",
    effect="silent",
    cause=("sign", "negat", "diverg", "rises", "increas"),
    evidence=("arXiv:2204.00694 (TheDeepChecker: flipped sign)",),
)
def negate_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The loss has the wrong sign.

    Effect: training makes the model worse with every step. No error or warning is raised.
    Why it goes undetected: the training loss falls, even below zero, and a falling loss is expected.
    Example:
        return log_likelihood                   # instead of its negative
    Remedy: check that a loss with a lower bound stays above it, and that the model beats an untrained one.
    """
    return -loss


@failure_mode(
    "loss.zeroed",
    seam=Loss,
    severity="critical",
    effect="silent",
    cause=("zero", "constant"),
    evidence=("londonaicentre/FLIP#766",),
)
def zero_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The loss is zero, whatever the model does.

    Effect: every gradient is zero, so nothing is learned. No error or warning is raised.
    Why it goes undetected: 0 is the best possible loss: finite, and below any threshold.
    Example:
        return (losses * mask).sum() / mask.sum().clamp(min=1)      # a mask that is never true
    Remedy: treat a loss of exactly 0 as an error; count the samples that contribute.
    """
    return loss * 0


@failure_mode(
    "loss.scaled",
    seam=Loss,
    severity="major",
    effect="silent",
    cause=("scale", "magnitude", "explod", "diverg", "gradient norm", "grad norm"),
    doses=(Dose("factor", 100.0, 1e-12, 1e12, "factor for the loss", harmless=1.0),),
    evidence=("arXiv:1910.11015 (Humbatova et al.: wrong loss function calculation, scaling)",),
)
def scale_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The loss is multiplied by a constant.

    Effect: with SGD, the learning rate is effectively multiplied, and a factor of 100 diverges. Adam divides the factor
    out again, except for weight decay. Lightning raises no error or warning.
    Why it goes undetected: the curve has its usual shape at a different height, and with Adam the result is as usual,
    too.
    Example:
        loss = 100 * self.criterion(y, target)          # in percent
    Remedy: compare the first loss with that of guessing; monitor the gradient norm.
    """
    return loss.mul(ctx.dose.factor)


@failure_mode(
    "loss.summed",
    seam=Loss,
    severity="major",
    effect="silent",
    cause=("summed", "reduc", "scale", "magnitude", "explod", "diverg", "gradient norm", "grad norm"),
    needs=("several-samples",),
    evidence=("arXiv:2204.00694 (TheDeepChecker: poor loss reduction)",),
)
def sum_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The loss is the sum over the batch's labels, or over its samples if there are none, instead of the mean.

    Effect: gradients grow with the batch size: SGD diverges where it did not before, clipping takes effect at every
    step, and Adam divides the factor out again. Lightning raises no error or warning.
    Why it goes undetected: the loss falls as usual, at a different height; the learning rate is blamed for the rest.
    Example:
        loss = F.mse_loss(y, target, reduction="sum")
    Remedy: check that a doubled batch has the same loss as the batch.
    """
    shapes = [leaf.shape for path, leaf in ctx.profile.leaves.items() if path in ctx.profile.labels]
    return loss * max([math.prod(shape) for shape in shapes] + [ctx.profile.batch_size or 1])


@failure_mode(
    "loss.offset",
    seam=Loss,
    severity="minor",
    effect="silent",
    cause=("offset", "constant", "loss differs"),
    doses=(Dose("offset", 1.0, -1e6, 1e6, "value that is added to the loss", harmless=0.0),),
    no_evidence="a harmless control: a constant changes no gradient, only the logged and monitored values",
)
def offset_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A constant is added to the loss.

    Effect: the parameters are identical to the bit; only the returned loss is off by the constant.
    Why it goes undetected: learning is the same. Only thresholds on the loss and comparisons with older runs are wrong.
    Example:
        loss = loss + 0.01 * len(self.layers)           # a penalty that no parameter can lower
    Remedy: compare the loss of an overfitted batch with 0.
    """
    return loss.add(ctx.dose.offset)


@failure_mode(
    "loss.wrong-function",
    seam=Loss,
    severity="major",
    effect="silent",
    cause=("loss function", "wrong loss", "criterion", "expected loss", "loss differs"),
    doses=(Dose("power", 0.5, 0.01, 10.0, "power of the loss that replaces it; 2 is its square", harmless=1.0),),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: change loss function)",
        "arXiv:1910.11015 (Humbatova et al.: wrong selection of loss function)",
    ),
)
def replace_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The wrong function is minimized: the root of the loss, as RMSE is the root of the mean squared error.

    It is derived from the loss itself, the one thing that every module has. It therefore keeps the direction of each
    batch's gradient and changes its length by `1 / (2 * root)`, which grows without bound as the loss approaches zero.

    Effect: batches with a small loss weigh more and those with a large loss less, and training continues. No error or
    warning is raised.
    Why it goes undetected: the loss falls and is a plausible number.
    Example:
        loss = torch.sqrt(F.mse_loss(y, target))
    Remedy: test that the loss of a fixed batch equals a manually computed number.
    """
    return loss.abs().pow(ctx.dose.power)


@failure_mode(
    "loss.regulariser-dominates",
    seam=Loss,
    severity="critical",
    effect="silent",
    cause=("regulari", "penalty", "decay", "weight norm", "collaps", "shrink"),
    doses=(Dose("weight", 1.0, 0.0, 1e6, "weight of the sum of squares of all parameters"),),
    evidence=(
        "arXiv:2204.00694 (TheDeepChecker: overwhelming regularization loss)",
        "doi:10.1145/3460319.3464825 (DeepCrime: add weights regularisation)",
    ),
)
def dominate_by_regulariser(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A penalty on the weights outweighs the loss.

    Effect: parameters shrink towards zero and the model towards a constant. No error or warning is raised.
    Why it goes undetected: the total falls steeply and smoothly, as it should.
    Example:
        loss = loss + sum(p.pow(2).sum() for p in self.parameters())    # no factor of 1e-4
    Remedy: log data loss and penalty separately; stop if the penalty is the larger one.
    """
    squares = [p.abs().square().sum() for p in ctx.module.parameters() if p.requires_grad]
    return loss + torch.stack(squares).sum().to(loss).mul(ctx.dose.weight)


@failure_mode(
    "loss.log-of-zero",
    seam=Loss,
    severity="critical",
    effect="silent",
    cause=("nan", "inf", "finite", "log of"),
    when="middle",
    evidence=("mathiaszinnen/focal_loss_torch#3", "open-mmlab/mmdetection#733"),
)
def log_of_zero(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A hand-written loss takes the logarithm of a zero probability.

    Effect: the loss is infinite, and backward multiplies an infinite slope by zero: every gradient is NaN and, after
    this step, so is every parameter that the loss reaches. The run continues to its end. No error or warning is raised.
    Why it goes undetected: probabilities round to zero only once the model is confident, so training starts well.
    Example:
        loss = -(target * torch.log(y.softmax(-1))).sum()
    Remedy: use `log_softmax` and losses that take logits; clamp before the logarithm, not after.
    """
    return loss - torch.log(loss * 0)


@failure_mode(
    "loss.last-samples-ignored",
    seam=ModuleOutput,
    severity="major",
    effect="silent",
    cause=("ignored", "masked", "slice", "no gradient"),
    doses=(Dose("fraction", 0.25, 0.0, 1.0, "fraction of each batch that is ignored, from its end"),),
    needs=("several-samples",),
    no_evidence="the effect of a slice or mask that ends too early; it is invisible, so it is not reported",
)
def ignore_last_samples(output: Any, ctx: Context) -> Any:
    """The last samples of each batch do not contribute to learning.

    The fault acts where samples are still separate, on the output of `forward`: it detaches the outputs of the last
    samples. The gradients are those of a mask before the mean; the value of the loss still includes the masked samples.

    Effect: the model trains on less data than it is given. No error or warning is raised.
    Why it goes undetected: shuffling brings every sample to the front sooner or later, so training is only slower. If
    the loader's order is fixed, the same samples are never learned from.
    Example:
        loss = F.cross_entropy(logits[:32], labels[:32])        # from a time when the batch size was 32
    Remedy: test that every sample of a batch has a gradient with respect to its input.
    """

    def ignored(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() == 0 or len(tensor) < 2:
            return tensor
        kept = len(tensor) - max(1, round(ctx.dose.fraction * len(tensor)))
        return torch.cat([tensor[:kept], tensor[kept:].detach()])

    return tree.map_tensors(output, ignored)
