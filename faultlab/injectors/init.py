"""init: failure modes of the parameters' initial values."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Architecture, Weights
from faultlab.frameworks.torch import layers
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode

Module = Any


@failure_mode(
    "init.constant",
    seam=Architecture,
    severity="critical",
    effect="silent",
    cause=("constant", "symmetr", "identical", "initiali", "variance"),
    doses=(Dose("value", 0.1, -1e3, 1e3, "initial value of every weight"),),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: change weights initialisation)",
        "thedeepchecker/thedeepchecker (buggy_synthetic_programs/wrong_init: constant)",
    ),
)
def initialise_constant(module: Module, ctx: Context) -> None:
    """Every weight is initialized to the same value.

    Effect: the neurons of a layer get the same gradient and stay identical, so each layer is effectively one neuron
    wide; only dropout and different biases make them differ. No error or warning is raised.
    Why it goes undetected: the loss falls, as far as such a narrow model can reduce it.
    Example:
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)
    Remedy: check before the first step that the rows of each weight differ.
    """
    with torch.no_grad():
        for weight in layers.weights(module):
            weight.fill_(ctx.dose.value)


@failure_mode(
    "init.zero",
    seam=Architecture,
    severity="critical",
    effect="silent",
    cause=("zero", "symmetr", "initiali", "vanish", "did not change"),
    evidence=(
        "lucidrains/deep-cross-attention#2",
        "doi:10.1145/3460319.3464825 (DeepCrime: change weights initialisation to zeros)",
    ),
)
def initialise_zero(module: Module, ctx: Context) -> None:
    """Every weight and bias is initialized to zero.

    Effect: with two layers or more, hidden outputs and the gradients that depend on them are zero: only the last bias
    learns, and the model gives every sample the same answer. No error or warning is raised.
    Why it goes undetected: the loss falls at first, to that of guessing by frequency.
    Example:
        state = {name: torch.zeros_like(value) for name, value in self.state_dict().items()}
        self.load_state_dict(state)             # a placeholder for the real checkpoint
    Remedy: assert after the first backward that every layer has a nonzero gradient.
    """
    with torch.no_grad():
        for name, parameter in layers.trainable(module):
            if parameter.dim() > 1 or layers.is_bias(name):
                parameter.zero_()


@failure_mode(
    "init.huge",
    seam=Architecture,
    severity="major",
    effect="silent",
    cause=("large", "huge", "initiali", "explod", "spike", "satur", "variance"),
    doses=(Dose("factor", 100.0, 1.0, 1e30, "factor for the weights", harmless=1.0),),
    evidence=(
        "awslabs/sagemaker-debugger-rulesconfig (PoorWeightInitialization)",
        "doi:10.1145/3460319.3464825 (DeepCrime: change weights initialisation)",
    ),
)
def initialise_huge(module: Module, ctx: Context) -> None:
    """The initial weights are far too large.

    Effect: activations saturate, the first loss is enormous, and gradients vanish or explode; if batch normalization
    divides the factor out again, the layer only learns slowly. No error or warning is raised.
    Why it goes undetected: the loss falls steeply, but from a value that it should never have had.
    Example:
        nn.init.normal_(self.head.weight)       # a standard deviation of 1, whatever the width
    Remedy: compare the first loss with that of guessing: log(classes), or the variance of the target.
    """
    with torch.no_grad():
        for weight in layers.weights(module):
            weight.mul_(ctx.dose.factor)


@failure_mode(
    "init.nan",
    seam=Architecture,
    severity="critical",
    effect="silent",
    cause=("nan", "finite"),
    evidence=("gordicaleksa/pytorch-GAT#11", "kmkurn/pytorch-crf#1"),
)
def initialise_nan(module: Module, ctx: Context) -> None:
    """One weight of the last layer is initialized to NaN.

    Effect: the first loss is NaN, and after the first step so is every parameter that it reaches. No error or warning
    is raised.
    Why it goes undetected: uninitialized memory holds NaN only on some machines and on some days.
    Example:
        self.scale = nn.Parameter(torch.empty(width))       # no nn.init follows
    Remedy: assert before `fit` that all parameters are finite.
    """
    with torch.no_grad():
        for weight in layers.weights(module)[-1:]:
            weight[(0,) * weight.dim()] = torch.nan


@failure_mode(
    "init.repeated",
    seam=Weights,
    severity="critical",
    effect="silent",
    cause=("initiali", "reset", "jump", "spike"),
    needs=("several-epochs",),
    evidence=("rwth-i6/returnn#1109", "arXiv:1910.11015 (taxonomy of faults: multiple initializations)"),
)
def initialise_each_epoch(module: Module, ctx: Context) -> None:
    """The parameters are initialized again at the beginning of every epoch.

    Effect: the second and every later epoch start from scratch, but with the optimizer's state of the previous epoch.
    No error or warning is raised.
    Why it goes undetected: within an epoch the loss falls as it should, and averages over epochs look like a plateau.
    Example:
        def on_train_epoch_start(self):
            self.apply(init_weights)            # belongs in __init__
    Remedy: check that the first loss of an epoch is close to the last one of the previous epoch.
    """
    if ctx.epoch > ctx.memory.setdefault("epoch", 0):
        ctx.memory["epoch"] = ctx.epoch
        layers.redraw(module, ctx.generator)


@failure_mode(
    "init.skipped",
    seam=Architecture,
    severity="critical",
    effect="silent",
    cause=("initiali", "nan", "finite", "large", "huge", "spike", "explod"),
    doses=(Dose("fraction", 0.2, 0.0, 1.0, "fraction of the layer's weights that hold what was left in memory"),),
    evidence=("openai/CLIP#15", "sauradip/STALE#16"),
)
def skip_initialisation(module: Module, ctx: Context) -> None:
    """The last layer's weights are never initialized and keep what was left in memory: zeros and extreme numbers.

    Effect: the first loss can have any size; usually it is far too large, infinite or NaN. No error or warning is
    raised.
    Why it goes undetected: fresh pages of memory are all zeros, so the model works in a short test.
    Example:
        self.queries = nn.Parameter(torch.empty(512, width))
    Remedy: compare the standard deviation of each parameter with that of its intended initialization.
    """
    with torch.no_grad():
        for weight in layers.weights(module)[-1:]:
            weight.copy_(_leftover(weight, ctx))


def _leftover(tensor: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Return what memory may hold that nobody has written to: zeros, and some numbers of any size."""
    left = torch.rand(tensor.shape, generator=ctx.generator) < ctx.dose.fraction
    exponents = torch.empty(tensor.shape).uniform_(-126, 127, generator=ctx.generator)
    return torch.where(left, torch.exp2(exponents), 0.0)


@failure_mode(
    "init.buffers-uninitialised",
    seam=Architecture,
    severity="critical",
    effect="silent",
    cause=("buffer", "initiali", "nan", "finite", "large", "huge"),
    needs=("floating-buffers",),
    doses=(Dose("fraction", 0.2, 0.0, 1.0, "fraction of each buffer that holds what was left in memory"),),
    evidence=("huggingface/transformers#48892", "huggingface/transformers#45902"),
)
def skip_buffers(module: Module, ctx: Context) -> None:
    """The module's buffers are never initialized and keep what was left in memory: zeros and extreme numbers.

    Effect: whatever is computed from them is wrong: positions that are encoded by a table, a normalization in eval
    mode, a mask. Buffers that training updates, such as running statistics, recover slowly or never. No error or
    warning is raised.
    Why it goes undetected: no gradient and no optimizer touches buffers, so checks of the parameters pass.
    Example:
        model.to_empty(device="cuda")           # the checkpoint has the parameters, not the non-persistent buffers
        model.load_state_dict(state, strict=False)
    Remedy: assert that all buffers are finite and equal to those of a newly constructed module.
    """
    with torch.no_grad():
        for buffer in layers.buffers(module):
            buffer.copy_(_leftover(buffer, ctx))
