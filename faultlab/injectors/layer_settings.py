"""layer: how the layers are set, and what they are led to do."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Architecture, Gradients, Weights
from faultlab.frameworks.torch import layers
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode

Module = Any


@failure_mode(
    "layer.dropout-off",
    seam=Architecture,
    severity="minor",
    effect="silent",
    cause=("dropout", "overfit"),
    needs=("dropout",),
    evidence=("doi:10.1145/3460319.3464825 (DeepCrime: change dropout rate)", "mp2893/medgan#7"),
)
def disable_dropout(module: Module, ctx: Context) -> None:
    """Dropout drops nothing.

    Effect: the model overfits sooner, if it can; nobody says a word.
    Why it goes undetected: the training loss is better.
    Example:
        nn.Dropout(p=hparams.get("drop_out", 0.0))          # the key is "dropout"
    Remedy: a test that two passes in train mode differ.
    """
    for layer in layers.running(module, ctx.profile.parts, "dropout"):
        layer.p = 0.0


@failure_mode(
    "layer.dropout-total",
    seam=Architecture,
    severity="critical",
    effect="silent",
    cause=("dropout", "zero", "vanish", "no grad"),
    needs=("dropout",),
    evidence=("hassony2/kinetics_i3d_pytorch#6", "doi:10.1145/3460319.3464825 (DeepCrime: change dropout rate)"),
)
def drop_everything(module: Module, ctx: Context) -> None:
    """Dropout drops everything.

    Effect: in training nothing but biases and by-passes gets past it, and nothing before it learns; validation, which
    drops nothing, runs on a model that was never trained so. Nobody says a word.
    Why it goes undetected: the loss falls to that of guessing by frequency; validation shows other numbers again.
    Example:
        nn.Dropout(p=keep_probability)          # 1.0 meant: keep all
    Remedy: assert after the first backward that every layer has a gradient other than zero.
    """
    for layer in layers.running(module, ctx.profile.parts, "dropout"):
        layer.p = 1.0


@failure_mode(
    "layer.dropout-rate-wrong",
    seam=Architecture,
    severity="major",
    effect="silent",
    cause=("dropout", "underfit"),
    doses=(Dose("probability", 0.9, 0.0, 1.0, "with which a value is dropped; kept, where it is dropped so already"),),
    needs=("dropout",),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: change dropout rate)",
        "aymericdamien/TensorFlow-Examples#205",
    ),
)
def mistake_dropout_rate(module: Module, ctx: Context) -> None:
    """Dropout drops far more than it should: the rate was taken for the share to keep.

    Effect: in training one value in ten gets past it, ten times as large; the gradient is noisy, and the model learns
    slowly. Validation drops nothing. Nobody says a word.
    Why it goes undetected: the loss falls; that it is worse in training than in validation is what dropout does.
    Example:
        nn.Dropout(p=hparams.keep_prob)         # 0.9, which says how much to keep
    Remedy: a test that counts the zeros that the layer gives in train mode.
    """
    for layer in layers.running(module, ctx.profile.parts, "dropout"):
        layer.p = ctx.dose.probability if layer.p != ctx.dose.probability else 1.0 - ctx.dose.probability


@failure_mode(
    "layer.batchnorm-frozen",
    seam=Architecture,
    severity="critical",
    effect="silent",
    cause=("batch", "running", "momentum", "statistic", "validation"),
    needs=("batchnorm",),
    evidence=("Cadene/pretrained-models.pytorch#5",),
)
def freeze_statistics(module: Module, ctx: Context) -> None:
    """The momentum of batch normalisation is 0: running statistics stay at mean 0 and variance 1.

    Effect: training uses the batch's own statistics and is right to the bit; validation uses the running ones, and is
    bad. Nobody says a word.
    Why it goes undetected: it looks like overfitting.
    Example:
        nn.BatchNorm2d(width, momentum=0.0)     # in other frameworks the weight of the old value, here of the new
    Remedy: evaluate a training batch in train and in eval mode, and compare.
    """
    for layer in layers.running(module, ctx.profile.parts, "batchnorm"):
        layer.momentum = 0.0


@failure_mode(
    "layer.batchnorm-corrupted",
    seam=Weights,
    severity="critical",
    effect="silent",
    cause=("batch", "running", "statistic", "validation"),
    doses=(Dose("scale", 1.0, 1e-6, 30.0, "how far the means, and the logarithms of the variances, are off"),),
    needs=("batchnorm",),
    evidence=("hiwonjoon/tf-frrn#2", "FlyreelAI/sesemi#36"),
)
def corrupt_statistics(module: Module, ctx: Context) -> None:
    """The running statistics of batch normalisation are those of something else, at every step.

    Effect: training does not use them and is right to the bit; validation does, and is bad. Nobody says a word.
    Why it goes undetected: it looks like overfitting; no parameter is wrong.
    Example:
        for parameter, average in zip(model.parameters(), averaged.parameters()):
            average.lerp_(parameter, 0.01)      # the buffers are forgotten
    Remedy: evaluate a training batch in train and in eval mode, and compare.
    """
    with torch.no_grad():
        for layer in layers.running(module, ctx.profile.parts, "batchnorm"):
            mean, spread = ctx.dose.scale * torch.randn(2, len(layer.running_mean), generator=ctx.generator)
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(spread.exp())


@failure_mode(
    "layer.dead-relu",
    seam=Architecture,
    severity="critical",
    effect="silent",
    cause=("dead", "relu", "zero", "activation", "vanish"),
    doses=(Dose("bias", -100.0, -1e30, 0.0, "the bias of the layer that feeds the ReLU", harmless=0.0),),
    needs=("relu",),
    evidence=("awslabs/sagemaker-debugger-rulesconfig (DeadRelu)", "keras-team/keras#7057"),
)
def kill_relu(module: Module, ctx: Context) -> None:
    """All neurons of a ReLU (or GELU, SiLU), the first, are dead: their inputs are far below zero.

    Effect: the output is zero for every sample, and so is the gradient: what is before it never learns again, what is
    behind it sees nothing of the input but by other ways. Nobody says a word.
    Why it goes undetected: the loss falls to that of guessing by frequency; zeros are finite.
    Example: a learning rate that is too high throws the biases far below zero in one step.
    Remedy: watch the share of zeros behind each ReLU; stop at a layer whose gradient is zero.
    """
    biased = [path for path in ctx.profile.fed("relu") if ctx.profile.parts[path].biased]
    with torch.no_grad():
        for path in biased[:1]:
            if (layer := layers.at(module, path)) and layers.writable(layer.bias):
                layer.bias.fill_(ctx.dose.bias)


@failure_mode(
    "layer.saturated",
    seam=Architecture,
    severity="major",
    effect="silent",
    cause=("satur", "vanish", "activation", "large", "gradient norm", "grad norm"),
    doses=(Dose("factor", 100.0, 1.0, 1e30, "what the weights before the activation are multiplied by", harmless=1.0),),
    needs=("bounded-activation",),
    evidence=("awslabs/sagemaker-debugger-rulesconfig (SaturatedActivation)",),
)
def saturate(module: Module, ctx: Context) -> None:
    """A sigmoid or tanh, the first, is saturated: its inputs are far too large.

    Effect: its outputs are all but -1 (or 0) and 1, its slope all but zero: what is before it hardly learns, what is
    behind it learns from coarse features. Nobody says a word.
    Why it goes undetected: the loss falls, as far as the layers behind can take it.
    Example: inputs that are not scaled; a recurrent net initialised too large.
    Remedy: watch the share of outputs near the bounds; compare the gradients' norms layer by layer.
    """
    with torch.no_grad():
        for path in ctx.profile.fed("bounded")[:1]:
            if (layer := layers.at(module, path)) and layers.writable(layer.weight):
                layer.weight.mul_(ctx.dose.factor)


@failure_mode(
    "layer.regularisation-added",
    seam=Gradients,
    severity="major",
    effect="silent",
    cause=("regulari", "penalty", "decay", "shrink", "norm"),
    doses=(Dose("strength", 0.1, 1e-30, 1e6, "the weight of the squared norm in the loss"),),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: add weights regularisation)",
        "thedeepchecker/thedeepchecker (buggy_synthetic_programs/over_regulariaztion)",
    ),
)
def regularise(parameters: list[Any], ctx: Context) -> None:
    """The squared norm of the weights is added to what is minimised.

    Effect: the gradient pulls every weight towards zero, at the cost of the task; nobody says a word.
    Why it goes undetected: the logged loss is the task's own; it stops falling early, as for a model that is too small.
    Example:
        optimizer = SGD(self.parameters(), lr=0.02, weight_decay=0.2)       # meant as 0.0002
    Remedy: log the weights' norms; a test that one batch can be overfitted.
    """
    for parameter in parameters:
        parameter.grad.add_(parameter.detach(), alpha=2 * ctx.dose.strength)
