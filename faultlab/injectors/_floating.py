"""The floating tensors of whatever a forward gives back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from faultlab.injection import tree


def map_floating(output: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The output, whatever it is made of, with its floating tensors mapped."""
    return tree.map_tensors(output, lambda tensor: function(tensor) if tensor.is_floating_point() else tensor)
