"""`torch.compile`, disabled while faultlab watches or breaks a training.

A hook that is set after a compiled function's first call never acts in it, one that is set before becomes part of the
compiled code, and each process would compile again, with threads that prevent it from being forked. So compiled user
code runs as it is written, in clean and faulted runs alike. The modules remain those that `torch.compile` returned, and
their parameters keep their names.
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
    """Compile nothing inside, and run nothing compiled, whatever the user's code requests of the compiler."""
    # Imported here: the seams look at layers, which import this module.
    from faultlab.core.patching import Patches

    with Patches() as patches:
        lift(patches)
        yield


def lift(patches: Patches) -> None:
    """Do the same until the patches are removed."""
    if not can_lift():
        return
    stance = torch.compiler.set_stance("force_eager")
    patches.on_exit(lambda: stance.__exit__(None, None, None))
    decorators = sys.modules["torch._dynamo.decorators"]
    if hasattr(decorators, "_set_stance"):
        patches.set(decorators, "_set_stance", lambda stance: stance)
    # torch warns of global hooks at a compiled module; these hooks are faultlab's.
    if hasattr(hooks, "_has_any_global_hook"):
        patches.set(hooks, "_has_any_global_hook", lambda: False)


def can_lift() -> bool:
    """Return True if this torch (2.6 or later) can run compiled code as it is written."""
    return hasattr(torch.compiler, "set_stance")


def is_compiled(module: nn.Module) -> bool:
    """Return True if the module or any part of it was passed to `torch.compile`."""
    return any(
        hasattr(part, "_orig_mod")
        or getattr(part, "_compiled_call_impl", None) is not None
        or hasattr(part.forward, "_torchdynamo_orig_callable")
        for part in module.modules()
    )


def renew(wrapper: Any) -> None:
    """Let the wrapper that `torch.compile` made of a module call the module that replaced it."""
    if hasattr(wrapper, "dynamo_ctx"):
        wrapper.__setstate__(wrapper.__getstate__())


def written(module: Any) -> Any:
    """Return the original of a LightningModule that was compiled as a whole; any other module unchanged.

    Lightning would set compiled methods on it, which bypass what is attached to its class.
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
