"""layer: failure modes of the layers' settings and of their activations."""

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

    Effect: the model overfits sooner, if it can. No error or warning is raised.
    Why it goes undetected: the training loss is better.
    Example:
        nn.Dropout(p=hparams.get("drop_out", 0.0))          # the key is "dropout"
    Remedy: test that two passes in train mode differ.
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

    Effect: in training, only biases and skip connections get past it, and nothing before it learns. Validation, which
    drops nothing, runs a model that was never trained that way. No error or warning is raised.
    Why it goes undetected: the loss falls to that of guessing by frequency, and validation shows yet other numbers.
    Example:
        nn.Dropout(p=keep_probability)          # 1.0 meant: keep all
    Remedy: assert after the first backward that every layer has a nonzero gradient.
    """
    for layer in layers.running(module, ctx.profile.parts, "dropout"):
        layer.p = 1.0


@failure_mode(
    "layer.dropout-rate-wrong",
    seam=Architecture,
    severity="major",
    effect="silent",
    cause=("dropout", "underfit"),
    doses=(Dose("probability", 0.9, 0.0, 1.0, "probability of dropping a value; of keeping it if already the rate"),),
    needs=("dropout",),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: change dropout rate)",
        "aymericdamien/TensorFlow-Examples#205",
    ),
)
def mistake_dropout_rate(module: Module, ctx: Context) -> None:
    """Dropout drops far too much, because the rate was taken for the fraction to keep.

    Effect: in training, one value in ten gets past it, ten times as large; the gradient is noisy, and the model learns
    slowly. Validation drops nothing. No error or warning is raised.
    Why it goes undetected: the loss falls, and being worse in training than in validation is a normal effect of
    dropout.
    Example:
        nn.Dropout(p=hparams.keep_prob)         # 0.9 is the fraction to keep
    Remedy: test the number of zeros in the layer's output in train mode.
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
    """The momentum of batch normalization is 0, so its running statistics stay at mean 0 and variance 1.

    Effect: training uses the batch's own statistics and is identical to the bit; validation uses the running ones and
    is bad. No error or warning is raised.
    Why it goes undetected: it looks like overfitting.
    Example:
        nn.BatchNorm2d(width, momentum=0.0)     # other frameworks weight the old value with it, torch the new
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
    doses=(Dose("scale", 1.0, 1e-6, 30.0, "error of the means, and of the logarithms of the variances"),),
    needs=("batchnorm",),
    evidence=("hiwonjoon/tf-frrn#2", "FlyreelAI/sesemi#36"),
)
def corrupt_statistics(module: Module, ctx: Context) -> None:
    """The running statistics of batch normalization are wrong at every step.

    Effect: training does not use them and is identical to the bit; validation uses them and is bad. No error or warning
    is raised.
    Why it goes undetected: it looks like overfitting, and no parameter is wrong.
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
    doses=(Dose("bias", -100.0, -1e30, 0.0, "bias of the layer that feeds the ReLU", harmless=0.0),),
    needs=("relu",),
    evidence=("awslabs/sagemaker-debugger-rulesconfig (DeadRelu)", "keras-team/keras#7057"),
)
def kill_relu(module: Module, ctx: Context) -> None:
    """All neurons of the first ReLU (or GELU, SiLU) are dead, because their inputs are far below zero.

    Effect: the output is zero for every sample, and so is the gradient: the layers before it never learn again, and the
    layers after it see the input only through other paths. No error or warning is raised.
    Why it goes undetected: the loss falls to that of guessing by frequency, and zeros are finite.
    Example: a learning rate that is too high moves the biases far below zero in one step.
    Remedy: monitor the fraction of zeros after each ReLU; stop if a layer's gradient is zero.
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
    doses=(Dose("factor", 100.0, 1.0, 1e30, "factor for the weights before the activation", harmless=1.0),),
    needs=("bounded-activation",),
    evidence=("awslabs/sagemaker-debugger-rulesconfig (SaturatedActivation)",),
)
def saturate(module: Module, ctx: Context) -> None:
    """The first sigmoid or tanh is saturated, because its inputs are far too large.

    Effect: its outputs are almost -1 (or 0) and 1, and its slope is almost zero: the layers before it hardly learn, and
    the layers after it learn from coarse features. No error or warning is raised.
    Why it goes undetected: the loss falls, as far as the layers after it can reduce it.
    Example: inputs that are not scaled; a recurrent network with initial weights that are too large.
    Remedy: monitor the fraction of outputs near the bounds; compare the gradients' norms layer by layer.
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
    doses=(Dose("strength", 0.1, 1e-30, 1e6, "weight of the squared norm in the loss"),),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: add weights regularisation)",
        "thedeepchecker/thedeepchecker (buggy_synthetic_programs/over_regulariaztion)",
    ),
)
def regularise(parameters: list[Any], ctx: Context) -> None:
    """The squared norm of the weights is added to the objective.

    Effect: the gradient pulls every weight towards zero, at the expense of the task. No error or warning is raised.
    Why it goes undetected: the logged loss is the task's own; it stops falling early, as for a model that is too small.
    Example:
        optimizer = SGD(self.parameters(), lr=0.02, weight_decay=0.2)       # meant as 0.0002
    Remedy: log the weights' norms; test that one batch can be overfitted.
    """
    for parameter in parameters:
        parameter.grad.add_(parameter.detach(), alpha=2 * ctx.dose.strength)
