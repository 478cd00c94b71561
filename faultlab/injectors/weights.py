"""weights: failure modes of the model's parameters and buffers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Architecture, Weights
from faultlab.core.target_profile import DENSE
from faultlab.frameworks.torch import layers
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injectors._shares import share

Module = Any


def _neurons(module: Module, ctx: Context) -> tuple[list[torch.Tensor], list[int]]:
    """Return weight and bias of the first layer with two or more neurons, and its neurons, shuffled."""
    found = layers.running(module, ctx.profile.parts, "linear", "convolution")
    weight, bias = next((own for layer in found if len((own := _own(layer))[0]) > 1), (torch.empty(0), None))
    neurons = torch.randperm(len(weight), generator=ctx.generator).tolist()
    return [tensor for tensor in (weight, bias) if tensor is not None], neurons


def _own(layer: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return weight and bias if they are existing parameters of the layer, not computed from others."""
    own = {name: tensor for name, tensor in layer.named_parameters(recurse=False) if layers.writable(tensor)}
    return own.get("weight", torch.empty(0)), own.get("bias")


@failure_mode(
    "weights.reinitialised",
    seam=Weights,
    severity="critical",
    effect="silent",
    cause=("initiali", "reset", "jump", "spike"),
    when="middle",
    evidence=("Nixtla/neuralforecast#674", "huggingface/transformers#46620"),
)
def reinitialise(module: Module, ctx: Context) -> None:
    """All parameters are initialized again in the middle of training.

    Effect: all learning is lost, the optimizer's state no longer matches, and training starts over. No error or warning
    is raised.
    Why it goes undetected: the loss jumps once and falls again; in a smoothed curve it is a bump.
    Example:
        self.model = build_model(self.hparams)  # in a hook that is called again
    Remedy: stop if the loss jumps, or if parameters move farther in one step than the learning rate allows.
    """
    layers.redraw(module, ctx.generator)


@failure_mode(
    "weights.nan",
    seam=Weights,
    severity="critical",
    effect="silent",
    cause=("nan", "finite"),
    when="middle",
    evidence=("LMResiliency/lm-resiliency (docs/fault_injection.md: tensor_corruption, weight)",),
)
def nan_weight(module: Module, ctx: Context) -> None:
    """One weight of the last layer becomes NaN.

    Effect: from this step on the loss is NaN, and after the step so is every parameter that the gradient reaches. No
    error or warning is raised.
    Why it goes undetected: NaN raises no error, and checkpoints continue to be written.
    Example:
        weight.div_(weight.norm())              # if the weight is zero
    Remedy: check loss and parameters for finite values, at the latest before a checkpoint is written.
    """
    with torch.no_grad():
        for weight in layers.weights(module)[-1:]:
            weight[(0,) * weight.dim()] = torch.nan


@failure_mode(
    "weights.bit-flip",
    seam=Weights,
    severity="critical",
    effect="silent",
    cause=("bit", "large", "huge", "finite", "nan", "spike", "explod"),
    when="middle",
    doses=(
        Dose("bit", 30, 0, 63, "index of the bit, from the least significant; modulo the weight's number of bits"),
        Dose("count", 1, 1, 1000000, "number of weights"),
    ),
    evidence=("pytorchfi/pytorchfi (weight_error_models)", "elliothe/BFA"),
)
def flip_bits(module: Module, ctx: Context) -> None:
    """A bit of a weight flips in memory.

    Effect: with the exponent's highest bit, the default, a weight of ordinary size becomes about 1e38: the loss is
    enormous, infinite or NaN, unless the weight is not used. A flipped bit of the mantissa hardly matters. No error or
    warning is raised.
    Why it goes undetected: hardware without error correction does not report it, and no line of code causes it.
    Example: memory or a link that fails under heat; cosmic rays.
    Remedy: stop if the loss jumps or a weight leaves its range; compare checksums of weights that should not change.
    """
    weights = layers.weights(module)
    with torch.no_grad():
        for _ in range(int(ctx.dose.count) if weights else 0):
            weight = weights[int(torch.randint(len(weights), (), generator=ctx.generator))]
            index = torch.randint(weight.numel(), (), generator=ctx.generator)
            values = weight.detach().clone().contiguous()
            layers.flip_bit(values, index, int(ctx.dose.bit))
            weight.copy_(values)


@failure_mode(
    "weights.fuzzed",
    seam=Weights,
    severity="major",
    effect="silent",
    cause=("noise", "nois", "jump", "spike", "weight"),
    when="middle",
    doses=(Dose("scale", 1.0, 1e-6, 1e6, "size of the noise, in mean sizes of the parameter"),),
    evidence=("arXiv:1805.05206 (DeepMutation: Gaussian fuzzing)", "wellido/mutation_tool (cnn_mutation)"),
)
def fuzz_weights(module: Module, ctx: Context) -> None:
    """Noise is added to every parameter in the middle of training.

    Effect: the loss jumps; training continues from there and usually recovers. No error or warning is raised.
    Why it goes undetected: it is a single step, and the weights stay in an ordinary range.
    Example:
        parameter.data += torch.randn_like(parameter) * self.noise      # on the wrong scale
    Remedy: stop if the loss jumps, or if parameters move farther in one step than the learning rate allows.
    """
    with torch.no_grad():
        for _, parameter in layers.trainable(module):
            noise = torch.randn(parameter.shape, generator=ctx.generator).to(parameter)
            parameter.add_(noise, alpha=ctx.dose.scale * float(parameter.abs().mean()))


@failure_mode(
    "weights.shuffled",
    seam=Weights,
    severity="critical",
    effect="silent",
    cause=("shuffl", "order", "permut", "jump", "spike"),
    when="middle",
    evidence=("arXiv:1805.05206 (DeepMutation: weight shuffling)", "wellido/mutation_tool (cnn_mutation)"),
)
def shuffle_weights(module: Module, ctx: Context) -> None:
    """The weights of each layer are shuffled.

    Effect: all learning is lost; the loss jumps, and training starts over. No error or warning is raised.
    Why it goes undetected: mean, norm and histogram of every weight stay the same to the bit.
    Example:
        weight.copy_(saved.reshape(weight.shape))       # saved in another layout, such as input first
    Remedy: after loading or converting weights, compare outputs on a fixed batch.
    """
    with torch.no_grad():
        for weight in layers.weights(module):
            order = torch.randperm(weight.numel(), generator=ctx.generator).to(weight.device)
            weight.copy_(weight.reshape(-1)[order].view(weight.shape))


@failure_mode(
    "weights.neuron-blocked",
    seam=Weights,
    severity="minor",
    effect="silent",
    cause=("neuron", "channel", "zero", "dead", "constant"),
    doses=(Dose("fraction", 0.25, 0.0, 1.0, "fraction of the layer's neurons; at least one"),),
    needs=("neurons",),
    evidence=("arXiv:1805.05206 (DeepMutation: neuron effect blocking)", "wellido/mutation_tool (cnn_mutation)"),
)
def block_neurons(module: Module, ctx: Context) -> None:
    """Some neurons of the first layer are held at zero.

    Effect: the layer is narrower by that many neurons, and the loss ends slightly higher. No error or warning is
    raised.
    Why it goes undetected: the other neurons compensate for most of it.
    Example:
        weight.mul_(self.mask)                  # left from a pruning experiment
    Remedy: count the neurons whose output never changes over an epoch.
    """
    if "chosen" not in ctx.memory:
        ctx.memory["chosen"] = _neurons(module, ctx)
    tensors, neurons = ctx.memory["chosen"]
    with torch.no_grad():
        for tensor in tensors:
            tensor[share(neurons, ctx.dose.fraction)] = 0


@failure_mode(
    "weights.neuron-inverted",
    seam=Weights,
    severity="minor",
    effect="silent",
    cause=("neuron", "channel", "sign", "invert", "negat", "jump", "spike"),
    when="middle",
    doses=(Dose("fraction", 0.25, 0.0, 1.0, "fraction of the layer's neurons; at least one"),),
    needs=("neurons",),
    evidence=("arXiv:1805.05206 (DeepMutation: neuron activation inverse)", "wellido/mutation_tool (cnn_mutation)"),
)
def invert_neurons(module: Module, ctx: Context) -> None:
    """Some neurons of the first layer change their sign.

    Effect: the layers after them receive the opposite of what they were trained on; the loss jumps and falls again as
    they adapt. No error or warning is raised.
    Why it goes undetected: norms stay the same to the bit, and the loss recovers within a few steps.
    Example:
        filters = torch.linalg.svd(patches).Vh          # recomputed: its signs are arbitrary
    Remedy: stop if the loss jumps; after a conversion, compare outputs on a fixed batch.
    """
    tensors, neurons = _neurons(module, ctx)
    with torch.no_grad():
        for tensor in tensors:
            tensor[share(neurons, ctx.dose.fraction)] *= -1


@failure_mode(
    "weights.neurons-switched",
    seam=Weights,
    severity="minor",
    effect="silent",
    cause=("neuron", "channel", "order", "switch", "swap", "permut", "jump", "spike"),
    when="middle",
    needs=("neurons",),
    evidence=("arXiv:1805.05206 (DeepMutation: neuron switch)", "wellido/mutation_tool (cnn_mutation)"),
)
def switch_neurons(module: Module, ctx: Context) -> None:
    """Two neurons of the first layer are swapped.

    Effect: the next layer receives each in place of the other; the loss rises a little and falls again. No error or
    warning is raised.
    Why it goes undetected: the layer holds the same numbers, and two neurons among many hardly matter.
    Example:
        merged = torch.cat([weights[name] for name in sorted(weights)])     # head.10 sorts before head.2
    Remedy: after a conversion, compare outputs on a fixed batch.
    """
    tensors, neurons = _neurons(module, ctx)
    with torch.no_grad():
        for tensor in tensors:
            tensor[neurons[:2]] = tensor[neurons[1::-1]]


@failure_mode(
    "weights.buffer-nan",
    seam=Weights,
    severity="critical",
    effect="silent",
    cause=("nan", "finite", "buffer", "running"),
    when="middle",
    needs=("floating-buffers",),
    evidence=("pytorch/pytorch#1206", "pytorch/pytorch#10008"),
)
def nan_buffers(module: Module, ctx: Context) -> None:
    """The buffers become NaN, as running statistics do after one bad batch.

    Effect: batch normalization never recovers: training, which uses the batch's own statistics, continues as if nothing
    had happened, while validation is NaN. A buffer that training uses makes the loss NaN. No error or warning is
    raised.
    Why it goes undetected: the training loss is right to the bit, and gradients and parameters are finite.
    Example:
        running.lerp_(values.var(dim=0), 0.1)   # of a batch with a single sample
    Remedy: check buffers for finite values, not only parameters.
    """
    with torch.no_grad():
        for buffer in layers.buffers(module):
            buffer.fill_(torch.nan)


@failure_mode(
    "weights.bias-removed",
    seam=Architecture,
    severity="minor",
    effect="silent",
    cause=("bias",),
    doses=(Dose("fraction", 1.0, 0.0, 1.0, "fraction of the layers, from the first; at least one"),),
    needs=("biased-layer",),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: remove bias)",
        "arXiv:1910.11015 (taxonomy of faults: missing bias)",
    ),
)
def remove_biases(module: Module, ctx: Context) -> None:
    """Linear and convolutional layers have no bias.

    Effect: zero inputs can only give zero outputs; with centered data hardly anything changes. No error or warning is
    raised.
    Why it goes undetected: the loss is almost the same, unless the target's mean is far from zero.
    Example:
        layer = nn.Linear(width, 1, bias=False)
    Remedy: test the number of the model's parameters, or their names.
    """
    found = [layer for layer in layers.running(module, ctx.profile.parts, *DENSE) if _own(layer)[1] is not None]
    for layer in share(found, ctx.dose.fraction):
        layer.bias = None


@failure_mode(
    "weights.bias-added",
    seam=Architecture,
    severity="minor",
    effect="silent",
    cause=("bias",),
    doses=(Dose("fraction", 1.0, 0.0, 1.0, "fraction of the layers, from the first; at least one"),),
    needs=("unbiased-layer",),
    evidence=("doi:10.1145/3460319.3464825 (DeepCrime: add bias)",),
)
def add_biases(module: Module, ctx: Context) -> None:
    """Linear and convolutional layers have a bias that they should not have.

    Effect: there are more parameters; before batch normalization they change nothing, because it subtracts them again.
    No error or warning is raised.
    Why it goes undetected: the loss is almost the same.
    Example:
        layer = nn.Conv2d(8, 16, 3)             # not bias=False, as in the checkpoint's model
    Remedy: test the number of the model's parameters; load checkpoints with `strict=True`.
    """
    found = [layer for layer in layers.running(module, ctx.profile.parts, *DENSE) if layer.bias is None]
    for layer in share([layer for layer in found if len(_own(layer)[0])], ctx.dose.fraction):
        outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        bound = (outputs / layer.weight.numel()) ** 0.5
        drawn = torch.empty(outputs).uniform_(-bound, bound, generator=ctx.generator)
        layer.bias = nn.Parameter(drawn.to(layer.weight))


@failure_mode(
    "weights.bias-shifted",
    seam=Weights,
    severity="minor",
    effect="silent",
    cause=("bias", "shift", "jump", "spike"),
    when="middle",
    doses=(Dose("shift", 1.0, 1e-6, 1e6, "standard deviation of the values that are added to the biases"),),
    needs=("biased-layer",),
    evidence=("ieeexplore.ieee.org/document/8431960 (MuNN: change bias value)",),
)
def shift_biases(module: Module, ctx: Context) -> None:
    """The biases of linear and convolutional layers change by random amounts in the middle of training.

    Effect: every neuron responds as if its inputs had shifted; the loss jumps and falls again within some steps. A bias
    before batch normalization changes nothing in training. No error or warning is raised.
    Why it goes undetected: it is a single step, and biases are few among the weights, so they hardly affect a norm over
    all of them.
    Example:
        layer.bias.data += layer.bias.grad      # left over from an attempt at a manual update
    Remedy: stop if the loss jumps, or if parameters move farther in one step than the learning rate allows.
    """
    with torch.no_grad():
        for layer in layers.running(module, ctx.profile.parts, *DENSE):
            if (bias := _own(layer)[1]) is not None:
                bias.add_(torch.randn(bias.shape, generator=ctx.generator).to(bias), alpha=ctx.dose.shift)


@failure_mode(
    "weights.decayed",
    seam=Weights,
    severity="major",
    effect="silent",
    cause=("decay", "shrink", "norm", "scale"),
    doses=(Dose("factor", 0.95, 0.0, 0.999999, "factor for the weights at every step", harmless=0.999999),),
    evidence=("google/flax#5576", "dylanyunlon/Neuron_SP#13"),
)
def decay_weights(module: Module, ctx: Context) -> None:
    """The weights are scaled down at every step.

    Effect: the weights lose what they learn almost as fast as they learn it, so the loss stops falling early. No error
    or warning is raised.
    Why it goes undetected: gradients and updates are right, and weight decay is normal.
    Example:
        weight.copy_(weight / norm)             # a normalization that is written back into the weight
    Remedy: after a step, compare the change of the weights with the optimizer's update.
    """
    with torch.no_grad():
        for weight in layers.weights(module):
            weight.mul_(ctx.dose.factor)
