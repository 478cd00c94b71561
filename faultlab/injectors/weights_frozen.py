"""weights: failure modes of frozen and unfrozen parameters."""

from __future__ import annotations

from typing import Any

from faultlab.catalogue.injection_points import Architecture, Weights
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


@failure_mode(
    "weights.frozen-midway",
    seam=Weights,
    severity="critical",
    effect="silent",
    cause=("frozen", "freez", "requires_grad", "trainable", "did not change", "no grad"),
    needs=("several-layers",),
    when="middle",
    evidence=("modelscope/ms-swift#9452", "huggingface/peft#3580"),
)
def freeze_midway(module: Module, ctx: Context) -> None:
    """From one step on, all parameters except those of the last layer are frozen, as if saving had frozen them.

    Effect: what was learned until then stays, and only the last layer learns on. No error or warning is raised. If it
    were frozen too, backward would raise an error.
    Why it goes undetected: the loss has fallen by then and seems to flatten; the parameters were seen to learn.
    Example:
        save_adapter(model)                     # loads a copy to convert it, and sets requires_grad to False
    Remedy: assert from time to time, not only at the start, that each parameter that should learn still requires grad.
    """
    found = layers.trainable(module)
    last = found[-1][0].rpartition(".")[0] if found else ""
    for name, parameter in found:
        if name.rpartition(".")[0] != last:
            parameter.requires_grad_(False)
