"""Modules that frameworks put around the user's: for several devices, mixed precision or compilation."""

from __future__ import annotations

from torch import nn

from faultlab.core import packages

_INSIDE = {
    "torch.nn.parallel": "module",
    "torch._dynamo": "_orig_mod",
    **dict.fromkeys(packages.FABRIC, "_forward_module"),
}
"""The name of the wrapped module, by the package that defines the wrapper."""


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the user's module inside the wrappers, or the module itself if nothing wraps it."""
    inside: nn.Module | None = module
    while inside is not None:
        module, name = inside, type(inside).__module__
        key = next((key for package, key in _INSIDE.items() if name.startswith(f"{package}.")), "")
        inside = module._modules.get(key)
    return module
