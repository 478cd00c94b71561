"""The calls of a module's layers in its first training step, in order."""

from __future__ import annotations

from typing import Any

from torch import nn

from faultlab.frameworks.torch import layers
from faultlab.injection import tree


class LayerCalls:
    """Records which layers are called; ``width`` is the last dimension of the last weighted layer's output."""

    def __init__(self) -> None:
        self.width: int | None = None
        self._weighted: list[str] = []
        self._own_layers: list[tuple[str, bool, bool]] = []

    def called(self, path: str, module: nn.Module, args: Any, output: Any, in_forward: bool) -> None:
        """Record a call of the layer at that path, and whether it was made inside the whole module's ``forward``."""
        found = tree.tensors(output)
        if layers.has_own(module):
            taught = bool(args) and any(tensor.requires_grad for _, tensor in tree.tensors(args[0]))
            self._own_layers.append((path, in_forward, taught))
        if found and next(module.parameters(), None) is not None:
            self._weighted.append(path)
            if found[0][1].dim() > 1:
                self.width = found[0][1].shape[-1]

    def taught_head(self, forward: str | None) -> bool | None:
        """Return True if the last layer of the part that gives the predictions has an input with gradients."""
        inside = [
            taught
            for path, in_forward, taught in self._own_layers
            if (in_forward if forward == "" else path == forward or path.startswith(f"{forward}."))
        ]
        return inside[-1] if inside else None

    def outermost(self) -> str | None:
        """Return the path of the last layer with weights that is not inside another one."""
        called = set(self._weighted)
        outermost = [path for path in self._weighted if not any(above in called for above in _ancestors(path))]
        return outermost[-1] if outermost else None


def _ancestors(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]
