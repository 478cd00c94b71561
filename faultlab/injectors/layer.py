"""layer: which layers the model is made of, and how they are set."""

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
    """Layers one after the other in the place of the first, whose attributes it still answers for."""

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
    """A layer in a plain list, where nn.Module does not look for parameters."""

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
    doses=(Dose("fraction", 1.0, 0.0, 1.0, "the share of the activations, from the first; one at least"),),
    needs=("activation",),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: remove activation function)",
        "arXiv:1805.05206 (DeepMutation: activation function removal)",
    ),
)
def remove_activations(module: Module, ctx: Context) -> None:
    """The activations are missing.

    Effect: layers without an activation between them are one linear layer, and the model learns no more than that can.
    Nobody says a word.
    Why it goes undetected: the loss falls, often faster than before, and on easy data about as far.
    Example:
        nn.Sequential(nn.Linear(10, 32), nn.Linear(32, 1))
    Remedy: compare with a linear baseline; a test that doubling the input does not just double the output.
    """
    for activation in _activations(module, ctx):
        layers.replace(module, activation, nn.Identity())


@failure_mode(
    "layer.activation-changed",
    seam=Architecture,
    severity="minor",
    effect="silent",
    cause=("activation", "satur", "vanish"),
    doses=(Dose("fraction", 1.0, 0.0, 1.0, "the share of the activations, from the first; one at least"),),
    needs=("activation",),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: change activation function)",
        "thedeepchecker/thedeepchecker (buggy_synthetic_programs/wrong_activation)",
    ),
)
def change_activations(module: Module, ctx: Context) -> None:
    """Other activations stand where these should: ReLU for sigmoid and tanh, sigmoid for all others.

    Effect: a sigmoid passes on a quarter of the gradient at most, and training slows down; an output that a sigmoid
    kept between 0 and 1 leaves that range. Nobody says a word.
    Why it goes undetected: the loss falls, more slowly.
    Example:
        self.activation = getattr(nn, hparams.activation)()     # of another experiment's settings
    Remedy: compare the gradients' norms layer by layer; a test of the output's range.
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

    Effect: the output is never negative, and where it is zero nothing is learnt. Nobody says a word.
    Why it goes undetected: logits above zero can still tell classes apart, and the loss falls.
    Example:
        for i, o in pairwise(sizes):
            layers += [nn.Linear(i, o), nn.ReLU()]          # after the last one too
    Remedy: a test that the untrained model's outputs have both signs.
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
    """A layer is left out: the first whose output has the shape of its input, better one that does not normalise.

    Effect: the model is one layer less deep; the loss ends at another value, and nobody says a word.
    Why it goes undetected: the shapes fit, and the other layers make up for most of it.
    Example:
        self.mix = nn.Linear(width, width)      # made in __init__, and never called in forward
    Remedy: assert after the first backward that every parameter has a gradient; a test that counts the parameters.
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
    """One layer stands twice in the network, with one and the same weights.

    Effect: the output of the layer goes through it once more; nobody says a word.
    Why it goes undetected: printed, the model has the layers that it should have.
    Example:
        self.blocks = nn.Sequential(*[nn.Linear(width, width)] * 2)         # the same layer, twice
    Remedy: a test that counts the parameters.
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

    Effect: the first layer gets gradients, but is in no optimizer, no checkpoint, and moves to no device: it stays as
    initialised. On the CPU nobody says a word; on another device the first batch fails.
    Why it goes undetected: the other layers learn, the loss falls; a loaded checkpoint lacks the layer.
    Example:
        self.layers = [nn.Linear(10, 32), nn.Linear(32, 1)]     # and not nn.ModuleList
    Remedy: a test that counts the parameters; one that compares outputs after a checkpoint was saved and loaded.
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
    doses=(Dose("fraction", 1.0, 0.0, 1.0, "the share of the normalisations, from the first; one at least"),),
    needs=("normalisation",),
    evidence=("thedeepchecker/thedeepchecker (buggy_synthetic_programs/missing_batchnorm)",),
)
def remove_normalisations(module: Module, ctx: Context) -> None:
    """The normalising layers are missing.

    Effect: training is slower, and less steady the deeper the model; a shallow one hardly detects. Nobody says a word.
    Why it goes undetected: the loss falls.
    Example:
        layers += [nn.BatchNorm2d(width)] if hparams.norm == "batch" else []        # it says "batchnorm"
    Remedy: log mean and spread of each layer's output; a test that names the layers.
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
    doses=(Dose("fraction", 1.0, 0.0, 1.0, "the share of the pooling layers, from the first; one at least"),),
    needs=("pooling",),
    evidence=(
        "arXiv:1910.11015 (taxonomy of faults: wrong amount and type of pooling in convolutional layer)",
        "deeplearning4j/deeplearning4j#8981",
    ),
)
def exchange_pooling(module: Module, ctx: Context) -> None:
    """Pooling layers take the mean where they should take the maximum, or the other way round.

    Effect: shapes fit; the loss ends at another value, and nobody says a word.
    Why it goes undetected: both learn; the wrong one is a little worse.
    Example:
        nn.AvgPool2d(2)                         # the paper says: max pooling
    Remedy: a test that compares the layers with those of the reference, or outputs under its checkpoint.
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
    """A convolution, the first, has a kernel two larger than it should be, and the padding that goes with it.

    Effect: shapes fit; the layer has more weights and sees farther, and the loss ends at another value. Nobody says a
    word; only a checkpoint of the right model, loaded into this one, raises.
    Why it goes undetected: both learn, and on easy data the wrong one may well do better.
    Example:
        nn.Conv2d(3, 64, kernel_size=5, padding=2)          # the paper says: 3
    Remedy: a test that counts the parameters, or compares the layers with those of the reference.
    """
    parts = {path: part for path, part in ctx.profile.parts.items() if part.width}
    for layer in layers.running(module, parts, "convolution")[:1]:
        layers.enlarge(layer, ctx.generator)
