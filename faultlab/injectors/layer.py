"""layer: failure modes of the model's layers and of their settings."""

from __future__ import annotations

from typing import Any

from torch import nn

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Architecture
from faultlab.core.target_profile import ACTIVATIONS, DENSE, NORMALISATIONS
from faultlab.frameworks.torch import layers
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injectors._shares import share

Module = Any


class _Row(nn.Module):
    """Layers in sequence that replace the first of them and delegate unknown attributes to it."""

    def __init__(self, *row: nn.Module) -> None:
        super().__init__()
        self.row = nn.ModuleList(row)

    def forward(self, *args: Any, **named: Any) -> Any:
        for layer in self.row:
            output = layer(*args, **named)
            args, named = (output, *args[1:]), named if args else {}
        return output

    def __getattr__(self, name: str) -> Any:
        return _inherited(self, name, lambda: self.row[0])


class _Unregistered(nn.Module):
    """A layer in a plain list, where `nn.Module` does not look for parameters."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.kept = [layer]

    def forward(self, *args: Any, **named: Any) -> Any:
        return self.kept[0](*args, **named)

    def __getattr__(self, name: str) -> Any:
        return _inherited(self, name, lambda: self.kept[0])


def _inherited(module: nn.Module, name: str, layer: Any) -> Any:
    try:
        return nn.Module.__getattr__(module, name)
    except AttributeError:
        if name.startswith("__") or name in ("row", "kept"):
            raise
        return getattr(layer(), name)


def _activations(module: Module, ctx: Context) -> list[Any]:
    parts = {path: part for path, part in ctx.profile.parts.items() if part.steady}
    return share(layers.running(module, parts, *ACTIVATIONS), ctx.dose.fraction)


@failure_mode(
    "layer.activation-removed",
    seam=Architecture,
    severity="major",
    effect="silent",
    cause=("activation", "linear"),
    doses=(Dose("fraction", 1.0, 0.0, 1.0, "fraction of the activations, from the first; at least one"),),
    needs=("activation",),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: remove activation function)",
        "arXiv:1805.05206 (DeepMutation: activation function removal)",
    ),
)
def remove_activations(module: Module, ctx: Context) -> None:
    """The activations are missing.

    Effect: layers without an activation between them act as one linear layer, so the model cannot learn more than a
    linear one. No error or warning is raised.
    Why it goes undetected: the loss falls, often faster than before, and on easy data about as far.
    Example:
        nn.Sequential(nn.Linear(10, 32), nn.Linear(32, 1))
    Remedy: compare with a linear baseline; test that doubling the input does not simply double the output.
    """
    for activation in _activations(module, ctx):
        layers.replace(module, activation, nn.Identity())


@failure_mode(
    "layer.activation-changed",
    seam=Architecture,
    severity="minor",
    effect="silent",
    cause=("activation", "satur", "vanish"),
    doses=(Dose("fraction", 1.0, 0.0, 1.0, "fraction of the activations, from the first; at least one"),),
    needs=("activation",),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: change activation function)",
        "thedeepchecker/thedeepchecker (buggy_synthetic_programs/wrong_activation)",
    ),
)
def change_activations(module: Module, ctx: Context) -> None:
    """The activations are of the wrong kind: ReLU for sigmoid and tanh, sigmoid for all others.

    Effect: a sigmoid passes on at most a quarter of the gradient, so training slows down; an output that a sigmoid kept
    between 0 and 1 leaves that range. No error or warning is raised.
    Why it goes undetected: the loss falls, only more slowly.
    Example:
        self.activation = getattr(nn, hparams.activation)()     # from another experiment's settings
    Remedy: compare the gradients' norms layer by layer; test the output's range.
    """
    for activation in _activations(module, ctx):
        layers.replace(module, activation, nn.ReLU() if layers.kind(activation) == "bounded" else nn.Sigmoid())


@failure_mode(
    "layer.activation-added",
    seam=Architecture,
    severity="critical",
    effect="silent",
    cause=("activation", "relu", "output", "negative", "range"),
    needs=("dense-layer",),
    evidence=("doi:10.1145/3460319.3464825 (DeepCrime: add activation function)",),
)
def add_activation(module: Module, ctx: Context) -> None:
    """A ReLU follows the last layer.

    Effect: the output is never negative, and where it is zero nothing is learned. No error or warning is raised.
    Why it goes undetected: logits above zero can still separate the classes, and the loss falls.
    Example:
        for i, o in pairwise(sizes):
            layers += [nn.Linear(i, o), nn.ReLU()]          # after the last one too
    Remedy: test that the untrained model's outputs have both signs.
    """
    for layer in layers.running(module, ctx.profile.parts, *DENSE)[-1:]:
        layers.replace(module, layer, _Row(layer, nn.ReLU()))


@failure_mode(
    "layer.removed",
    seam=Architecture,
    severity="minor",
    effect="silent",
    cause=("layer", "missing", "parameters"),
    needs=("steady-layer",),
    evidence=("wellido/mutation_tool (cnn_mutation: layer remove)", "inria-thoth/HySUPP#3"),
)
def remove_layer(module: Module, ctx: Context) -> None:
    """One layer is missing: the first whose output has the shape of its input, preferably not a normalization.

    Effect: the model has one layer less, and the loss ends at a different value. No error or warning is raised.
    Why it goes undetected: the shapes match, and the other layers compensate for most of it.
    Example:
        self.mix = nn.Linear(width, width)      # created in __init__, but never called in forward
    Remedy: assert after the first backward that every parameter has a gradient; test the number of parameters.
    """
    for path in ctx.profile.steady[:1]:
        if layer := layers.at(module, path):
            layers.replace(module, layer, nn.Identity())


@failure_mode(
    "layer.duplicated",
    seam=Architecture,
    severity="minor",
    effect="silent",
    cause=("layer", "twice", "shared", "duplicat"),
    needs=("steady-layer",),
    evidence=("SSinyu/RED-CNN#8", "linkedin/Liger-Kernel#269"),
)
def run_layer_twice(module: Module, ctx: Context) -> None:
    """One layer occurs twice in the network, with shared weights.

    Effect: the output of the layer passes through it once more. No error or warning is raised.
    Why it goes undetected: when printed, the model has the expected layers.
    Example:
        self.blocks = nn.Sequential(*[nn.Linear(width, width)] * 2)         # the same layer, twice
    Remedy: test the number of parameters.
    """
    for path in ctx.profile.steady[:1]:
        if layer := layers.at(module, path):
            layers.replace(module, layer, _Row(layer, layer))


@failure_mode(
    "layer.unregistered",
    seam=Architecture,
    severity="critical",
    effect="silent",
    cause=("regist", "optimizer", "did not change", "untrained", "missing"),
    needs=("several-layers", "weighted-layer"),
    evidence=("pytorch/pytorch#1053", "LianpoWang/SLIIF#13"),
)
def hide_layer(module: Module, ctx: Context) -> None:
    """A layer is kept in a plain list, where `nn.Module` does not find it.

    Effect: the first layer gets gradients, but is in no optimizer and no checkpoint and moves to no device, so it keeps
    its initial values. On the CPU no error or warning is raised; on another device the first batch fails.
    Why it goes undetected: the other layers learn and the loss falls; a loaded checkpoint lacks the layer.
    Example:
        self.layers = [nn.Linear(10, 32), nn.Linear(32, 1)]     # not nn.ModuleList
    Remedy: test the number of parameters, and that outputs are unchanged after a checkpoint is saved and loaded.
    """
    for path in ctx.profile.weighted[:1]:
        if layer := layers.at(module, path):
            layers.replace(module, layer, _Unregistered(layer))


@failure_mode(
    "layer.normalisation-removed",
    seam=Architecture,
    severity="minor",
    effect="silent",
    cause=("normali", "activation", "variance", "explod", "vanish"),
    doses=(Dose("fraction", 1.0, 0.0, 1.0, "fraction of the normalization layers, from the first; at least one"),),
    needs=("normalisation",),
    evidence=("thedeepchecker/thedeepchecker (buggy_synthetic_programs/missing_batchnorm)",),
)
def remove_normalisations(module: Module, ctx: Context) -> None:
    """The normalization layers are missing.

    Effect: training is slower, and less stable the deeper the model is; a shallow one is hardly affected. No error or
    warning is raised.
    Why it goes undetected: the loss falls.
    Example:
        layers += [nn.BatchNorm2d(width)] if hparams.norm == "batch" else []        # it is "batchnorm"
    Remedy: log mean and spread of each layer's output; test the names of the layers.
    """
    found = layers.running(module, ctx.profile.parts, *NORMALISATIONS)
    for layer in share(found, ctx.dose.fraction):
        layers.replace(module, layer, nn.Identity())


@failure_mode(
    "layer.pooling-wrong",
    seam=Architecture,
    severity="minor",
    effect="silent",
    cause=("pool",),
    doses=(Dose("fraction", 1.0, 0.0, 1.0, "fraction of the pooling layers, from the first; at least one"),),
    needs=("pooling",),
    evidence=(
        "arXiv:1910.11015 (taxonomy of faults: wrong amount and type of pooling in convolutional layer)",
        "deeplearning4j/deeplearning4j#8981",
    ),
)
def exchange_pooling(module: Module, ctx: Context) -> None:
    """Pooling layers take the mean instead of the maximum, or the maximum instead of the mean.

    Effect: the shapes match, and the loss ends at a different value. No error or warning is raised.
    Why it goes undetected: both learn; the wrong one is slightly worse.
    Example:
        nn.AvgPool2d(2)                         # the paper uses max pooling
    Remedy: compare the layers with those of the reference, or the outputs under its checkpoint, in a test.
    """
    for layer in share(layers.running(module, ctx.profile.parts, "pooling"), ctx.dose.fraction):
        name = type(layer).__name__
        other = getattr(nn, name.replace("Max", "Avg") if "Max" in name else name.replace("Avg", "Max"))
        if "Adaptive" in name:
            layers.replace(module, layer, other(layer.output_size))
        else:
            layers.replace(
                module, layer, other(layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
            )


@failure_mode(
    "layer.kernel-wrong",
    seam=Architecture,
    severity="minor",
    effect="silent",
    cause=("kernel", "filter", "receptive", "shape", "parameters"),
    needs=("convolution",),
    evidence=(
        "arXiv:1910.11015 (taxonomy of faults: wrong filter size for a convolutional layer)",
        "tensorlayer/SRGAN#241",
    ),
)
def enlarge_kernel(module: Module, ctx: Context) -> None:
    """The first convolution has a kernel that is too large by two, with matching padding.

    Effect: the shapes match; the layer has more weights and a larger receptive field, and the loss ends at a different
    value. No error or warning is raised, unless a checkpoint of the right model is loaded into this one.
    Why it goes undetected: both learn, and on easy data the wrong one may even do better.
    Example:
        nn.Conv2d(3, 64, kernel_size=5, padding=2)          # the paper uses 3
    Remedy: test the number of parameters, or compare the layers with those of the reference.
    """
    parts = {path: part for path, part in ctx.profile.parts.items() if part.width}
    for layer in layers.running(module, parts, "convolution")[:1]:
        layers.enlarge(layer, ctx.generator)
