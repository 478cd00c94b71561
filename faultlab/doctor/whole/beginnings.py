"""In the victim: weights that are beside the configuration of a model, and that the model does not begin with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from faultlab.core.asking import asked

_FILES = ("model.safetensors", "pytorch_model.bin")
_MOST_MODULES, _LEAST, _ENOUGH, _VALUES, _LARGEST = 8, 3, 12, 16, 500_000_000


class Beginnings:
    """Compares models, before they learn, with the weights in the folder that their configuration is from.

    Attributes:
        found: The ``module`` and ``folder`` of the first model that has none of those weights.
    """

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._known: set[int] = set()

    def called(self, module: nn.Module) -> None:
        """Look at a model that learns for the first time."""
        if id(module) in self._known or len(self._known) >= _MOST_MODULES or self.found:
            return
        self._known.add(id(module))
        folder = asked(asked(module, "config"), "_name_or_path")
        if isinstance(folder, str) and folder and Path(folder).is_dir():
            given = _weights(Path(folder))
            if given and begins_otherwise(module.state_dict(), given):
                self.found = {"module": type(module).__name__, "folder": folder}


def begins_otherwise(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> bool:
    """Return whether a model has the matrices that are given, by name and shape, and none of their values."""
    compared = 0
    for name, value in given.items():
        if value.dim() < 2 or value.numel() < _VALUES or not bool(value.any()):
            continue
        # A head, or a base model, has a prefix of its own.
        mine = [
            other for key, other in own.items() if key == name or key.endswith(f".{name}") or name.endswith(f".{key}")
        ]
        for one in mine:
            if one.shape == value.shape:
                if torch.equal(one.detach().cpu().to(value.dtype), value):
                    return False
                compared += 1
        if compared >= _ENOUGH:
            break
    return compared >= _LEAST


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights that a folder has, empty if they can't be read."""
    file = next((path for name in _FILES if (path := folder / name).is_file()), None)
    if file is None or file.stat().st_size > _LARGEST:
        return {}
    if file.suffix == ".bin":
        # Its other name is followed as what the script itself reads.
        found = torch.serialization.load(file, map_location="cpu", weights_only=True)
        return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}
    from safetensors.torch import load_file

    return dict(load_file(file))
