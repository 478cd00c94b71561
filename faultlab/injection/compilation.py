"""`torch.compile`, lifted while faultlab watches a training or breaks it.

A hook that is set after a compiled function's first call never acts in it, one that is set before becomes part of what
is compiled, and each process would compile anew, by threads that keep it from being copied. So what the user has
compiled runs as it is written, in clean runs and in broken ones alike. The modules stay what `torch.compile` made of
them, and their parameters keep their names.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules import module as hooks

if TYPE_CHECKING:
    from faultlab.core.patching import Patches


@contextlib.contextmanager
def lifted() -> Iterator[None]:
    """Nothing is compiled inside, nor what is compiled run, whatever the user's code asks of the compiler there."""
    # The seams look at layers, which ask here what was compiled.
    from faultlab.core.patching import Patches

    with Patches() as patches:
        lift(patches)
        yield


def lift(patches: Patches) -> None:
    """The same until the patches are taken off."""
    if not can_lift():
        return
    stance = torch.compiler.set_stance("force_eager")
    patches.on_exit(lambda: stance.__exit__(None, None, None))
    decorators = sys.modules["torch._dynamo.decorators"]
    if hasattr(decorators, "_set_stance"):
        patches.set(decorators, "_set_stance", lambda stance: stance)
    # torch warns of global hooks at a compiled module, which are faultlab's.
    if hasattr(hooks, "_has_any_global_hook"):
        patches.set(hooks, "_has_any_global_hook", lambda: False)


def can_lift() -> bool:
    """Whether this torch (2.6 or later) can run what is compiled as it is written."""
    return hasattr(torch.compiler, "set_stance")


def is_compiled(module: nn.Module) -> bool:
    """Whether `torch.compile` was given the module or any part of it."""
    return any(
        hasattr(part, "_orig_mod")
        or getattr(part, "_compiled_call_impl", None) is not None
        or hasattr(part.forward, "_torchdynamo_orig_callable")
        for part in module.modules()
    )


def renew(wrapper: Any) -> None:
    """Has what `torch.compile` made of a module call the one that has taken that one's place."""
    if hasattr(wrapper, "dynamo_ctx"):
        wrapper.__setstate__(wrapper.__getstate__())


def written(module: Any) -> Any:
    """The LightningModule that was compiled as a whole, as it is written; any other module as it is.

    Lightning would put compiled methods on it, which what is attached to its class does not reach.
    """
    module = getattr(module, "_modules", {}).get("_orig_mod", module)
    if context := getattr(module, "_compiler_ctx", None):
        for name, own in context.items():
            if name.startswith("original_"):
                setattr(module, name.removeprefix("original_"), own)
                _drop_inherited(module, name.removeprefix("original_"), own)
        module._compiler_ctx = None
    return module


def _drop_inherited(module: Any, name: str, method: Any) -> None:
    if getattr(method, "__func__", None) is getattr(type(module), name, None):
        delattr(module, name)
