"""The module's layers and tensors as injectors and the probe see them: kind, place, and what is writable."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules import activation, batchnorm, dropout, instancenorm, normalization
from torch.nn.parameter import is_lazy

from faultlab.core.part_facts import Part
from faultlab.injection import compilation

_RELUS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU)
_BOUNDED = (nn.Sigmoid, nn.Tanh, nn.Hardsigmoid, nn.Hardtanh, nn.Softsign)
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, normalization.LocalResponseNorm, instancenorm._InstanceNorm)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
          nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)  # fmt: skip


def kind(module: nn.Module) -> str:
    """Return the layer's kind for failure modes; ``other`` if none could change it (a dropout that drops nothing)."""
    if next(module.children(), None) is not None:
        return "container"
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return "convolution"
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return "transposed"
    if isinstance(module, _RELUS):
        return "relu"
    if isinstance(module, _BOUNDED):
        return "bounded"
    if type(module).__module__ == activation.__name__ and not isinstance(module, nn.MultiheadAttention):
        return "activation"
    if isinstance(module, batchnorm._BatchNorm):
        return "batchnorm" if module.track_running_stats and module.momentum != 0 else "normalisation"
    if isinstance(module, _NORMS):
        return "normalisation"
    if isinstance(module, dropout._DropoutNd):
        return "dropout" if 0 < module.p < 1 else "other"
    if isinstance(module, _MAX_POOLS):
        plain = not module.return_indices and set(_numbers(module.dilation)) == {1}
        return "pooling" if plain else "other"
    return "pooling" if isinstance(module, _POOLS) and not getattr(module, "return_indices", False) else "other"


def part(module: nn.Module, args: tuple[Any, ...], output: Any) -> Part:
    """Return the facts of a submodule from one call."""
    steady = bool(args) and _shape(args[0]) == _shape(output) is not None
    own = dict(module.named_parameters(recurse=False))
    weight, bias = own.get("weight"), own.get("bias")
    return Part(
        kind=kind(module),
        steady=steady,
        biased=bias is not None and writable(bias),
        width=len(weight) if weight is not None and weight.dim() and writable(weight) else 0,
    )


def running(module: nn.Module, parts: Mapping[str, Part], *kinds: str) -> list[Any]:
    """Return the module's layers of some kinds that the clean run calls, in order of their first calls, each once."""
    found = [at(module, path) for path, part in parts.items() if part.kind in kinds]
    return list(dict.fromkeys(layer for layer in found if layer is not None))


def at(module: nn.Module, path: str | None) -> Any:
    """Return the submodule at a path, or None."""
    try:
        return module.get_submodule(path) if path else None
    except AttributeError:
        return None


def replace(module: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put one submodule in place of another, wherever it is registered.

    It gets the other's public attributes unless it has its own: code that replaces a layer also changes the code that
    reads its attributes, such as ``self.head.in_features``.
    """
    for name in set(dir(old)) - set(dir(new)):
        if not name.startswith("_"):
            with contextlib.suppress(Exception):  # a property may not be available now
                # Bypass nn.Module, which would register the parameters of a layer that is gone.
                vars(new)[name] = getattr(old, name)
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if child is old and not isinstance(parent, torch.jit.ScriptModule):
                setattr(parent, name, new)
                if name == "_orig_mod":
                    compilation.renew(parent)


def enlarge(layer: Any, generator: torch.Generator) -> None:
    """Make a convolution's kernel two larger in every dimension, padded so that its output keeps its shape.

    The layer object stays the same, because its class may be the user's own; the weights are drawn as torch draws them.
    """
    if layer.padding != "same":
        before = [0] * len(layer.dilation) if layer.padding == "valid" else layer.padding
        layer.padding = tuple(padding + wider for padding, wider in zip(before, layer.dilation))
    # Used by paddings other than zeros: from the last dimension to the first, each at both ends.
    both_ends = [wider for wider in reversed(layer.dilation) for _ in range(2)]
    layer._reversed_padding_repeated_twice = [
        padding + wider for padding, wider in zip(layer._reversed_padding_repeated_twice, both_ends)
    ]
    layer.kernel_size = tuple(size + 2 for size in layer.kernel_size)
    drawn = torch.empty(*layer.weight.shape[:2], *layer.kernel_size)
    nn.init.kaiming_uniform_(drawn, a=5**0.5, generator=generator)
    layer.weight.data = drawn.to(layer.weight)


def has_own(module: nn.Module) -> bool:
    """Return True if the module has parameters besides those of its parts."""
    return next(module.parameters(recurse=False), None) is not None


def trainable(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the trainable, writable parameters, by name, each once."""
    return [(name, tensor) for name, tensor in module.named_parameters() if tensor.requires_grad and writable(tensor)]


def tied(module: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """Return the places of each trainable, writable parameter that several layers share: layers and attribute names."""
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for part in module.modules():
        for name, tensor in part.named_parameters(recurse=False):
            if tensor.requires_grad and writable(tensor):
                places.setdefault(id(tensor), []).append((part, name))
    return [found for found in places.values() if len(found) > 1]


def adapters(module: nn.Module) -> list[nn.Linear]:
    """Return the upper layer of each low-rank adapter that has a bias there.

    An adapter is two trainable layers beside a frozen one, which lead from its inputs through a narrow space to its
    outputs.
    """
    found: dict[int, nn.Linear] = {}
    for part in module.modules():
        linear = [one for one in part.modules() if isinstance(one, nn.Linear)]
        base, small = ([one for one in linear if one.weight.requires_grad is trains] for trains in (False, True))
        if len(base) != 1 or len(small) != 2:
            continue
        for down, up in (small, small[::-1]):
            narrow = down.out_features == up.in_features < min(base[0].in_features, base[0].out_features)
            outer = (down.in_features, up.out_features) == (base[0].in_features, base[0].out_features)
            if narrow and outer and up.bias is not None and up.bias.requires_grad:
                found[id(up)] = up
    return list(found.values())


def resting(module: nn.Module) -> list[nn.Module]:
    """Return the outermost parts in eval mode that have parameters, all of them frozen, inside of one that trains."""
    if not module.training:
        return []
    found: list[nn.Module] = []
    for part in module.children():
        parameters = list(part.parameters())
        if part.training:
            found += resting(part)
        elif parameters and not any(parameter.requires_grad for parameter in parameters):
            found.append(part)
    return found


def weights(module: nn.Module) -> list[nn.Parameter]:
    """Return the trainable parameters with two dimensions or more; all of them if there are none."""
    found = [tensor for _, tensor in trainable(module)]
    return [tensor for tensor in found if tensor.dim() > 1] or found


def buffers(module: nn.Module) -> Iterator[torch.Tensor]:
    """Return the writable floating-point buffers."""
    return (tensor for tensor in module.buffers() if writable(tensor))


def writable(tensor: torch.Tensor) -> bool:
    """Return True if the tensor holds floating-point numbers, dense, each at its own address."""
    if is_lazy(tensor) or tensor.layout is not torch.strided:
        return False
    overlaps = any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride()))
    return tensor.is_floating_point() and tensor.numel() > 0 and not overlaps


def redraw(module: nn.Module, generator: torch.Generator) -> None:
    """Give every trainable parameter new values, drawn as torch's layers draw theirs."""
    with torch.no_grad():
        for name, parameter in trainable(module):
            parameter.copy_(drawn(name, parameter, generator))


def drawn(name: str, parameter: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return new values for a parameter of this name."""
    if parameter.dim() > 1:
        fresh = nn.init.kaiming_uniform_(torch.empty(parameter.shape), a=5**0.5, generator=generator)
        return fresh.to(parameter)
    return torch.full_like(parameter, 0.0 if is_bias(name) else 1.0)


def is_bias(name: str) -> bool:
    """Return True if a parameter of this name is a bias: ``head.bias``, ``recurrent.bias_ih_l0``."""
    return "bias" in name.rpartition(".")[2]


def _shape(value: Any) -> torch.Size | None:
    return value.shape if isinstance(value, torch.Tensor) and value.is_floating_point() else None


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def flip_bit(values: torch.Tensor, index: torch.Tensor, bit: int) -> None:
    """Flip a bit of one value of a contiguous tensor, counted from the lowest, modulo the bits of a value."""
    bits = values.view(_BITS[values.element_size()]).view(-1)
    width = 8 * values.element_size()
    bit %= width
    bits[index] ^= -(1 << bit) if bit == width - 1 and width > 8 else 1 << bit
