"""weights: failure modes of weights that layers share."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.injection_points import Architecture
from faultlab.frameworks.torch import layers
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "weights.untied",
    seam=Architecture,
    severity="major",
    effect="silent",
    cause=("tied", "tying", "untied", "shar", "parameters"),
    needs=("tied-parameters",),
    evidence=("unslothai/unsloth#3711", "unslothai/unsloth#9331"),
)
def untie(module: Any, ctx: Context) -> None:
    """Layers that should share a weight have copies of it.

    Effect: the copies start equal and are trained apart, so the model has more parameters than it should, and each copy
    learns from its own gradients alone. What ties them again when a checkpoint is loaded or merged drops one of them.
    No error or warning is raised.
    Why it goes undetected: the loss falls, often faster than with tied weights.
    Example:
        for layer in (model.embedding, model.head):
            layer.weight = nn.Parameter(layer.weight.detach().clone())      # to train them in full precision
    Remedy: assert that `model.head.weight is model.embedding.weight` after everything that wraps, copies or converts
    the model.
    """
    for (_, _), *others in layers.tied(module):
        for layer, name in others:
            setattr(layer, name, torch.nn.Parameter(getattr(layer, name).detach().clone()))
