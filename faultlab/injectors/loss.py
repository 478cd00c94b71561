"""loss: the number that training minimises."""

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
    evidence=("Lightning-AI/pytorch-lightning#4956", "motional/nuplan-devkit#91"),
)
def nan_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The loss of one batch is NaN.

    Effect: every gradient is NaN and so, after this one step, is every parameter that the loss reaches. The run goes on
    to its end without a word.
    Why it goes undetected: Lightning checks no loss; `argmax` of NaN is a class like any other, so accuracy is a
    number.
    Example:
        loss = (errors * mask).sum() / mask.sum()       # a batch with nothing to learn from
    Remedy: stop at a loss that is not finite, by `EarlyStopping(check_finite=True)` on the training loss or
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
    """The loss of one batch is infinite, by a term that has no gradient.

    Effect: the gradients are those of the healthy loss, and training goes on as if nothing were wrong; only a mean that
    takes the loss in is infinite from then on.
    Why it goes undetected: no parameter is harmed, and the loss that is logged is often another tensor.
    Example:
        loss = loss + torch.tensor(prior).log()         # a prior of 0
    Remedy: stop at a loss that is not finite, and check what is returned, not only what is logged.
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

    Effect: gradients are infinite, and NaN where they were zero or where infinities cancel; after this one step
    parameters are NaN. The run goes on to its end without a word.
    Why it goes undetected: a check for NaN passes at the loss itself, which is infinite.
    Example:
        loss = loss / weights.sum()             # all weights of the batch are 0
    Remedy: check with `torch.isfinite`, which knows both; skip the optimizer step where a gradient isn't finite.
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

    Effect: training makes the model worse with every step, without a word.
    Why it goes undetected: the training loss falls, below zero and on, and falling is what one looks for.
    Example:
        return log_likelihood                   # and not its negative
    Remedy: check that a loss with a lower bound stays above it, and that an untrained model is beaten.
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

    Effect: every gradient is zero; nothing is learnt, without a word.
    Why it goes undetected: 0 is the best of losses: finite, and below any threshold.
    Example:
        return (losses * mask).sum() / mask.sum().clamp(min=1)      # a mask that is never true
    Remedy: take a loss of exactly 0 for an error; count the samples that take part.
    """
    return loss * 0


@failure_mode(
    "loss.scaled",
    seam=Loss,
    severity="major",
    effect="silent",
    cause=("scale", "magnitude", "explod", "diverg", "gradient norm", "grad norm"),
    doses=(Dose("factor", 100.0, 1e-12, 1e12, "what the loss is multiplied by", harmless=1.0),),
    evidence=("arXiv:1910.11015 (Humbatova et al.: wrong loss function calculation, scaling)",),
)
def scale_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The loss is multiplied by a constant.

    Effect: under SGD it is the learning rate that is multiplied; a factor of 100 diverges. Adam divides the factor out
    again, but for weight decay. Lightning says nothing.
    Why it goes undetected: the curve has its usual shape at another height, and with Adam the result is as usual too.
    Example:
        loss = 100 * self.criterion(y, target)          # in per cent
    Remedy: compare the first loss with what guessing gives; watch the gradient norm.
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
    """The loss is summed over the batch's labels, or its samples without labels, where a mean was meant.

    Effect: gradients grow with the batch size; SGD diverges where it did not before, clipping sets in at every step,
    and Adam divides the factor out again. Lightning says nothing.
    Why it goes undetected: the loss falls as usual, at another height; the learning rate is blamed for the rest.
    Example:
        loss = F.mse_loss(y, target, reduction="sum")
    Remedy: check that the loss of a doubled batch is the loss of the batch.
    """
    shapes = [leaf.shape for path, leaf in ctx.profile.leaves.items() if path in ctx.profile.labels]
    return loss * max([math.prod(shape) for shape in shapes] + [ctx.profile.batch_size or 1])


@failure_mode(
    "loss.offset",
    seam=Loss,
    severity="minor",
    effect="silent",
    cause=("offset", "constant", "loss differs"),
    doses=(Dose("offset", 1.0, -1e6, 1e6, "what is added to the loss", harmless=0.0),),
    no_evidence="a harmless control: a constant changes no gradient, only what is logged and monitored",
)
def offset_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A constant is added to the loss.

    Effect: none on the parameters, to the bit; the loss that is returned is off by the constant.
    Why it goes undetected: nothing learns differently. Thresholds on the loss and comparisons with older runs are
    wrong.
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
    doses=(
        Dose("power", 0.5, 0.01, 10.0, "the power of the loss that takes its place; 2 is its square", harmless=1.0),
    ),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: change loss function)",
        "arXiv:1910.11015 (Humbatova et al.: wrong selection of loss function)",
    ),
)
def replace_loss(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Another function than the one meant is minimised: the loss's root, as RMSE is of the mean squared error.

    It is derived from the loss itself, the one thing that every module has. So it keeps the direction of each batch's
    gradient and changes its length, by `1 / (2 * root)`, which grows without bounds where the loss nears zero.

    Effect: batches with a small loss weigh more and those with a large loss less; training goes on without a word.
    Why it goes undetected: the loss falls and is a plausible number.
    Example:
        loss = torch.sqrt(F.mse_loss(y, target))
    Remedy: a test that compares the loss of a fixed batch with a number worked out by hand.
    """
    return loss.abs().pow(ctx.dose.power)


@failure_mode(
    "loss.regulariser-dominates",
    seam=Loss,
    severity="critical",
    effect="silent",
    cause=("regulari", "penalty", "decay", "weight norm", "collaps", "shrink"),
    doses=(Dose("weight", 1.0, 0.0, 1e6, "the weight of the sum of squares of all parameters"),),
    evidence=(
        "arXiv:2204.00694 (TheDeepChecker: overwhelming regularization loss)",
        "doi:10.1145/3460319.3464825 (DeepCrime: add weights regularisation)",
    ),
)
def dominate_by_regulariser(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A penalty on the weights outweighs the loss.

    Effect: parameters shrink towards zero and the model towards a constant, without a word.
    Why it goes undetected: the total falls steeply and smoothly, as it should.
    Example:
        loss = loss + sum(p.pow(2).sum() for p in self.parameters())    # and no factor of 1e-4
    Remedy: log data loss and penalty apart; stop where the penalty is the larger.
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
    """A hand-written loss takes the logarithm of a probability that is zero.

    Effect: the loss is infinite, and backward multiplies an infinite slope by zero: every gradient is NaN and so, after
    this one step, is every parameter that the loss reaches. The run goes on to its end without a word.
    Why it goes undetected: probabilities round to zero only once the model is confident, so training begins well.
    Example:
        loss = -(target * torch.log(y.softmax(-1))).sum()
    Remedy: use `log_softmax` and the losses that take logits; clamp before the logarithm, not after.
    """
    return loss - torch.log(loss * 0)


@failure_mode(
    "loss.last-samples-ignored",
    seam=ModuleOutput,
    severity="major",
    effect="silent",
    cause=("ignored", "masked", "slice", "no gradient"),
    doses=(Dose("fraction", 0.25, 0.0, 1.0, "how much of each batch is ignored, from its end"),),
    needs=("several-samples",),
    no_evidence="what a slice or mask that ends too early does; nothing shows it, so nobody reports it",
)
def ignore_last_samples(output: Any, ctx: Context) -> Any:
    """The last samples of each batch take no part in what is learnt.

    Expressed where samples are still apart, on forward's output: those of the last samples are detached. Gradients are
    those of a mask before the mean; the loss's value still holds the masked samples' share.

    Effect: the model trains on less data than it is given, without a word.
    Why it goes undetected: shuffling brings every sample to the front sooner or later, so it is only slower. Where the
    loader's order is fixed, the same samples are never learnt from.
    Example:
        loss = F.cross_entropy(logits[:32], labels[:32])        # since the batch size was 32 once
    Remedy: a test that every sample of a batch has a gradient with regard to its input.
    """

    def ignored(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() == 0 or len(tensor) < 2:
            return tensor
        kept = len(tensor) - max(1, round(ctx.dose.fraction * len(tensor)))
        return torch.cat([tensor[:kept], tensor[kept:].detach()])

    return tree.map_tensors(output, ignored)
