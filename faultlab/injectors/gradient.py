"""gradient: failure modes of the gradients that backward leaves on the parameters."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Backward, Clipping, Gradients
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode

Parameters = list[Any]  # those that have a gradient


@failure_mode(
    "gradient.none",
    seam=Gradients,
    severity="critical",
    effect="silent",
    cause=("gradient", "grad is none", "no grad", "did not change", "no parameter"),
    evidence=("Lightning-AI/pytorch-lightning#19517",),
)
def drop_gradients(parameters: Parameters, ctx: Context) -> None:
    """No parameter has a gradient after backward.

    Effect: the optimizer skips every parameter, so nothing is learned. No error or warning is raised.
    Why it goes undetected: `global_step` increases, and code that inspects gradients skips those that are None.
    Example:
        self.optimizers().zero_grad()           # in on_after_backward
    Remedy: assert after the first backward that every trainable parameter has a gradient.
    """
    for parameter in parameters:
        parameter.grad = None


@failure_mode(
    "gradient.zero",
    seam=Gradients,
    severity="critical",
    effect="silent",
    cause=("zero", "vanish", "gradient", "did not change"),
    evidence=(
        "awslabs/sagemaker-debugger-rulesconfig (AllZero)",
        "LMResiliency/lm-resiliency (docs/fault_injection.md: drop, gradient)",
    ),
)
def zero_gradients(parameters: Parameters, ctx: Context) -> None:
    """Every gradient is zero.

    Effect: nothing is learned, while weight decay continues to shrink the weights. No error or warning is raised.
    Why it goes undetected: with weight decay the parameters do change, so a check that they move passes.
    Example:
        y = self.head(x).clamp(max=0).relu()    # flat everywhere
    Remedy: check the norm of the gradients, not only whether they exist or parameters move.
    """
    for parameter in parameters:
        parameter.grad.zero_()


@failure_mode(
    "gradient.nan",
    seam=Gradients,
    severity="critical",
    effect="silent",
    cause=("nan", "finite"),
    when="middle",
    evidence=(
        "Lightning-AI/pytorch-lightning#4956",
        "LMResiliency/lm-resiliency (docs/fault_injection.md: tensor_corruption, set_value nan, gradient)",
    ),
)
def nan_gradients(parameters: Parameters, ctx: Context) -> None:
    """The gradients of one step are NaN.

    Effect: after this step every parameter that the optimizer holds is NaN, and the run continues to its end. No error
    or warning is raised. Clipping by norm does not help, because the norm is NaN too.
    Why it goes undetected: the loss of this step is finite; only the next one is NaN, when it is too late.
    Example:
        norm = (a - b).pow(2).sum().sqrt()      # a equals b: the slope of the root at 0 is infinite
    Remedy: check the gradients before the step, and skip it if they are not finite.
    """
    for parameter in parameters:
        parameter.grad.mul_(torch.nan)


@failure_mode(
    "gradient.negated",
    seam=Gradients,
    severity="critical",
    effect="silent",
    cause=("sign", "negat", "diverg", "rises", "increas"),
    evidence=(
        "arXiv:2204.00694 (TheDeepChecker: flipped sign)",
        "LMResiliency/lm-resiliency (docs/fault_injection.md: tensor_corruption, sign_flip, gradient)",
    ),
)
def negate_gradients(parameters: Parameters, ctx: Context) -> None:
    """The gradients have the wrong sign.

    Effect: each step increases the loss. No error or warning is raised.
    Why it goes undetected: the norms of gradients and updates are right; only the loss curve has the wrong direction.
    Example:
        parameter.data += lr * parameter.grad   # a hand-written update
    Remedy: stop if the loss, after some epochs, is above that of the untrained model.
    """
    for parameter in parameters:
        parameter.grad.neg_()


@failure_mode(
    "gradient.random",
    seam=Gradients,
    severity="critical",
    effect="silent",
    cause=("random", "nois", "not learn", "no progress"),
    evidence=("LMResiliency/lm-resiliency (docs/fault_injection.md: tensor_corruption, noise, gradient)",),
)
def randomise_gradients(parameters: Parameters, ctx: Context) -> None:
    """The gradients are noise of the size that they should have.

    Effect: parameters move at random, at their usual pace, and nothing is learned. No error or warning is raised.
    Why it goes undetected: norms, updates and activity are right; only the loss does not fall.
    Example: a faulty accelerator or link that corrupts gradients; noise that is added for privacy, on the wrong scale.
    Remedy: stop if the loss, after some epochs, is no better than guessing; check that one batch can be overfitted.
    """
    for parameter in parameters:
        noise = torch.randn(parameter.shape, generator=ctx.generator).to(parameter.grad)
        parameter.grad.copy_(noise * (parameter.grad.norm() / noise.norm()))


@failure_mode(
    "gradient.exploding",
    seam=Gradients,
    severity="critical",
    effect="silent",
    cause=("explod", "gradient norm", "grad norm", "spike", "too large"),
    when="middle",
    doses=(Dose("factor", 1e4, 1.0, 1e30, "factor for the gradients of the step", harmless=1.0),),
    evidence=(
        "awslabs/sagemaker-debugger-rulesconfig (ExplodingTensor)",
        "arXiv:2204.00694 (TheDeepChecker: exploding gradient)",
    ),
)
def explode_gradients(parameters: Parameters, ctx: Context) -> None:
    """The gradients of one step are far too large.

    Effect: SGD moves the parameters far away. Adam takes one step of ordinary size and then hardly moves for a long
    time, because its second moment is huge. Clipping by norm prevents the damage. No error or warning is raised.
    Why it goes undetected: it is one step among thousands, and its result looks like a bad initialization or a plateau.
    Example: a recurrent network over a long sequence, a corrupt sample, a division by a small standard deviation.
    Remedy: clip the gradients by their norm (with Lightning, `gradient_clip_val`); log the norm and stop at a spike.
    """
    for parameter in parameters:
        parameter.grad.mul_(ctx.dose.factor)


@failure_mode(
    "gradient.vanishing",
    seam=Gradients,
    severity="critical",
    effect="silent",
    cause=("vanish", "gradient norm", "grad norm", "too small", "zero"),
    doses=(Dose("factor", 1e-8, 0.0, 1.0, "factor for the gradients", harmless=1.0),),
    evidence=(
        "awslabs/sagemaker-debugger-rulesconfig (VanishingGradient)",
        "arXiv:2204.00694 (TheDeepChecker: vanishing gradient)",
    ),
)
def vanish_gradients(parameters: Parameters, ctx: Context) -> None:
    """The gradients are almost zero.

    Effect: with SGD, nothing moves. Adam scales small gradients up, as far down as its epsilon of 1e-8, so it is slowed
    rather than stopped. No error or warning is raised.
    Why it goes undetected: gradients exist, are finite and are not exactly zero.
    Example:
        self.layers = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.Sigmoid()) for _ in range(30)])
    Remedy: log the norm of the gradients per layer; compare the size of updates with that of the weights.
    """
    for parameter in parameters:
        parameter.grad.mul_(ctx.dose.factor)


@failure_mode(
    "gradient.layer-zero",
    seam=Gradients,
    severity="major",
    effect="silent",
    cause=("zero", "vanish", "frozen", "did not change"),
    needs=("several-layers",),
    evidence=("LMResiliency/lm-resiliency (docs/fault_injection.md: drop, gradient of one module)",),
)
def zero_first_layer(parameters: Parameters, ctx: Context) -> None:
    """The gradients of one layer, the module's first, are zero.

    Effect: the layer keeps its initial values apart from weight decay, and the others learn around it. No error or
    warning is raised.
    Why it goes undetected: the loss falls, and sums over all gradients or parameters look healthy.
    Example:
        hidden = torch.where(mask, self.embed(x), 0.0)      # a mask that is never true
    Remedy: check gradients layer by layer, for their norm and not only for None.
    """
    owners = {id(p): name.rpartition(".")[0] for name, p in ctx.module.named_parameters() if p.requires_grad}
    first = next((owners[id(parameter)] for parameter in parameters if id(parameter) in owners), None)
    for parameter in parameters:
        if first is not None and owners.get(id(parameter)) == first:
            parameter.grad.zero_()


@failure_mode(
    "gradient.stale",
    seam=Gradients,
    severity="major",
    effect="silent",
    cause=("stale", "same gradient", "previous", "repeated"),
    needs=("several-steps",),
    evidence=("LMResiliency/lm-resiliency (docs/fault_injection.md: stale_state, gradient)",),
)
def delay_gradients(parameters: Parameters, ctx: Context) -> None:
    """Each step uses the gradients of the previous backward.

    Effect: training lags by one batch, which is harmless with small learning rates and overshoots with large ones. No
    error or warning is raised.
    Why it goes undetected: gradients exist, with the right size and almost the right direction.
    Example:
        optimizer.step()                        # before backward, in a hand-written loop
        self.manual_backward(loss)
    Remedy: test one update against a manually computed `weight - lr * gradient`.
    """
    for parameter in parameters:
        current = parameter.grad.clone()
        parameter.grad.copy_(ctx.memory.get(id(parameter), current))
        ctx.memory[id(parameter)] = current


@failure_mode(
    "gradient.doubled",
    seam=Gradients,
    severity="minor",
    effect="silent",
    cause=("double", "twice", "gradient norm", "grad norm", "accumulat"),
    doses=(Dose("times", 2.0, 1.0, 1e6, "how many times each gradient is counted"),),
    evidence=("huggingface/transformers#35438",),
)
def double_gradients(parameters: Parameters, ctx: Context) -> None:
    """Each gradient is counted twice.

    Effect: with SGD, the learning rate is effectively doubled; Adam divides the factor out again. No error or warning
    is raised.
    Why it goes undetected: the loss is right, because only the computation after it is wrong.
    Example:
        self.manual_backward(loss, retain_graph=True)
        self.manual_backward(loss)              # once more for the logs
    Remedy: test one update against a manually computed `weight - lr * gradient`.
    """
    for parameter in parameters:
        parameter.grad.mul_(ctx.dose.times)


@failure_mode(
    "gradient.clip-crushing",
    seam=Gradients,
    severity="major",
    effect="silent",
    cause=("clip", "gradient norm", "grad norm", "too small", "vanish"),
    doses=(Dose("norm", 1e-3, 1e-30, 1e3, "maximum norm of all gradients together", harmless=1e3),),
    evidence=("doi:10.1145/3460319.3464825 (DeepCrime: change gradient clip)",),
)
def crush_gradients(parameters: Parameters, ctx: Context) -> None:
    """Gradients are clipped to a norm far below their own.

    Effect: every step has the same tiny length: SGD almost stops, and Adam is hardly affected. No error or warning is
    raised.
    Why it goes undetected: the loss falls a little, and clipping is known to make training smooth.
    Example:
        trainer = Trainer(gradient_clip_val=0.001)      # meant as a learning rate
    Remedy: log the norm before clipping; a limit that takes effect at every step is too low.
    """
    torch.nn.utils.clip_grad_norm_(parameters, ctx.dose.norm)


@failure_mode(
    "gradient.clip-disabled",
    seam=Clipping,
    severity="major",
    effect="silent",
    cause=("clip", "gradient norm", "grad norm", "explod"),
    evidence=("simchowitzlabpublic/nano-world-model#22", "Lightning-AI/pytorch-lightning#12595"),
)
def skip_clipping(call: Call, ctx: Context) -> Any:
    """Gradients are not clipped, although the Trainer or the module is set to clip them.

    Effect: a spike in the gradients passes at full size; if no step exceeds the limit, nothing changes. No error or
    warning is raised.
    Why it goes undetected: `gradient_clip_val` is plainly visible in the configuration.
    Example:
        def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
            self.log("grad_norm", self.norm())          # no self.clip_gradients(...)
    Remedy: check the norm of the gradients after clipping; with Lightning, in `on_before_zero_grad`.
    """
    return ctx.memory["unclipped"]()


@failure_mode(
    "gradient.accumulation-misnormalised",
    seam=Gradients,
    severity="major",
    effect="silent",
    cause=("accumulat", "misnormal", "gradient norm", "grad norm"),
    doses=(Dose("spread", 0.75, 0.0, 1.0, "by how much batches alternately weigh too much and too little"),),
    needs=("several-steps",),
    evidence=("Lightning-AI/pytorch-lightning#20350", "huggingface/transformers#37766"),
)
def misweigh_gradients(parameters: Parameters, ctx: Context) -> None:
    """Accumulated batches have the wrong weights, as in a mean of means over batches of unequal size.

    It is implemented without accumulation, so that it applies to every target: batches alternately weigh too much and
    too little.

    Effect: the samples of some batches count several times as much as those of others. No error or warning is raised.
    Why it goes undetected: on average over the batches the weight is right, and so is each single loss.
    Example:
        loss = losses.sum() / mask.sum()        # by this batch's tokens, then averaged over 8 batches
    Remedy: test that accumulating batches of unequal size gives the gradient of one large batch.
    """
    for parameter in parameters:
        parameter.grad.mul_(1 + ctx.dose.spread * (-1) ** ctx.step)


@failure_mode(
    "gradient.backward-skipped",
    seam=Backward,
    severity="critical",
    effect="silent",
    cause=("backward", "gradient", "no grad", "did not change"),
    evidence=("zylo117/Yet-Another-EfficientDet-Pytorch#544",),
)
def skip_backward(call: Call, ctx: Context) -> None:
    """`backward` is never called.

    Effect: the hooks before and after it run, the optimizer steps without gradients, and nothing is learned. No error
    or warning is raised.
    Why it goes undetected: the loss is computed and logged, and `global_step` increases.
    Example:
        def backward(self, loss, *args, **kwargs):
            if self.ready:                      # never set
                loss.backward(*args, **kwargs)
    Remedy: assert after the backward pass that gradients exist; with Lightning, in `on_after_backward`.
    """
