"""The loss functions of `torch.nn.functional`, replaced before a loop runs.

A loop that writes ``F.mse_loss(model(x), y)`` looks the function up before it calls the model, where a step may begin.
It would be too late to replace it then.
"""

from __future__ import annotations

import functools
import sys
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
    """Replace each loss function, under every name by which a module has imported it.

    Args:
        patches: Undoes it.
        mapped: Receives a function's name and result, and returns the result to use.
    """
    names = {id(getattr(functional, name)): name for name in FUNCTIONS}
    for module in list(sys.modules.values()):
        # Torch's own modules call them too, within what the loop calls.
        if not isinstance(module, ModuleType) or (module is not functional and module.__name__.startswith("torch.")):
            continue
        for known, value in list(vars(module).items()):
            if (name := names.get(id(value))) is not None:
                patches.wrap(module, known, functools.partial(_computing, name, mapped))


def _computing(name: str, mapped: Callable[[str, Any], Any], compute: Callable[..., Any]) -> Callable[..., Any]:
    def computing(*args: Any, **kwargs: Any) -> Any:
        return mapped(name, compute(*args, **kwargs))

    return computing
