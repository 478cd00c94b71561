"""The loss functions of `torch.nn.functional`, replaced before a loop runs.

A loop that writes ``F.mse_loss(model(x), y)`` looks the function up before it calls the model, where a step may begin.
It would be too late to replace it then.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch.nn import functional

from faultlab.core.patching import Patches

FUNCTIONS = frozenset(
    name
    for name, value in vars(functional).items()
    if callable(value) and not name.startswith("_") and ("loss" in name or "entropy" in name or name == "kl_div")
)


def replace(patches: Patches, mapped: Callable[[str, Any], Any]) -> None:
    """Replace each loss function, under every name that a module imported it as.

    Args:
        patches: Undoes it.
        mapped: Receives a function's name and result, and returns the result to use.
    """
    names = {getattr(functional, name): name for name in FUNCTIONS}
    patches.wrap_imported(names, lambda compute: _computing(names[compute], mapped, compute), _looks_at)


def _looks_at(module: ModuleType) -> bool:
    # Torch's own modules call them too, within what the loop calls.
    return module is functional or not module.__name__.startswith("torch.")


def _computing(name: str, mapped: Callable[[str, Any], Any], compute: Callable[..., Any]) -> Callable[..., Any]:
    def computing(*args: Any, **kwargs: Any) -> Any:
        return mapped(name, compute(*args, **kwargs))

    return computing
