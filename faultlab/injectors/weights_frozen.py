"""weights: failure modes of frozen and unfrozen parameters."""

from __future__ import annotations

from typing import Any

from faultlab.catalogue.injection_points import Architecture
from faultlab.frameworks.torch import layers
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode

Module = Any


@failure_mode(
    "weights.layer-frozen",
    seam=Architecture,
    severity="major",
    effect="silent",
    cause=("frozen", "freez", "requires_grad", "trainable", "did not change", "no grad"),
    needs=("several-layers",),
    evidence=("wannabeOG/MAS-PyTorch#1", "OrderLab/TrainCheck (bugs.md: PT-FORUM-84911)"),
)
def freeze_layer(module: Module, ctx: Context) -> None:
    """The module's first layer is frozen and does not learn.

    Effect: the layer keeps its initial values, and the others learn around it. No error or warning is raised.
    Why it goes undetected: the loss falls, and a frozen layer is common in transfer learning.
    Example:
        for parameter in self.encoder.parameters():
            parameter.requires_grad = False     # without pretrained weights
    Remedy: assert after some steps that each parameter that should learn has changed.
    """
    found = layers.trainable(module)
    for name, parameter in found:
        if name.rpartition(".")[0] == found[0][0].rpartition(".")[0]:
            parameter.requires_grad_(False)


@failure_mode(
    "weights.all-frozen",
    seam=Architecture,
    severity="critical",
    effect="raises",
    cause=("frozen", "freez", "require grad", "requires_grad", "trainable", "grad_fn", "did not change"),
    evidence=("OrderLab/TrainCheck (bugs.md: PT-FORUM-84911)",),
)
def freeze_all(module: Module, ctx: Context) -> None:
    """All parameters are frozen, so none learns.

    Effect: backward raises a `RuntimeError`: the loss does not require grad and does not have a grad_fn.
    Why it goes undetected: it goes undetected only if something else in the loss requires grad, such as an input that
    is itself optimized.
    Example:
        model.freeze()                          # for a prediction; unfreeze is missing
    Remedy: assert before `fit` that there are trainable parameters.
    """
    for _, parameter in layers.trainable(module):
        parameter.requires_grad_(False)


@failure_mode(
    "weights.unfrozen",
    seam=Architecture,
    severity="major",
    effect="silent",
    cause=("frozen", "freez", "requires_grad", "trainable", "changed"),
    needs=("frozen-parameters",),
    evidence=("open-mmlab/mmpretrain#702", "catalyst-team/catalyst#79"),
)
def unfreeze(module: Module, ctx: Context) -> None:
    """Parameters that should stay frozen learn, too.

    Effect: they move with the others; if they are pretrained, their knowledge is lost. No error or warning is raised.
    Why it goes undetected: the training loss falls even faster.
    Example:
        self.backbone.requires_grad = False     # sets an attribute; requires_grad_(False) freezes
    Remedy: assert after some steps that each frozen parameter is unchanged.
    """
    for parameter in module.parameters():
        if layers.writable(parameter):
            parameter.requires_grad_(True)
