"""Mapping over the floating-point tensors of a forward output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from faultlab.injection import tree


def map_floating(output: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return the output, of any structure, with its floating-point tensors mapped."""
    return tree.map_tensors(output, lambda tensor: function(tensor) if tensor.is_floating_point() else tensor)
