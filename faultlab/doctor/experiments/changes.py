"""In the victim: the parts of a training that an experiment can change, each by torch's own classes alone.

They act on whatever calls torch: a Trainer, or a loop written by hand.
"""

from __future__ import annotations

import gc
import importlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from faultlab.core.patching import Patches
from faultlab.frameworks.torch.optimizers import rate_in
from faultlab.frameworks.torch.seams.clipping import wrap_functions

Attach = Callable[["Applied", Patches, Any], None]

_CHANGES: dict[str, Attach] = {}
_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")


class Applied:
    """Changes that are in force.

    Attributes:
        plain: The measured plain loss, see `faultlab.doctor.experiments.plain_loss`.
        acted: How often each change made a difference to what the training would have done.
    """

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        # They declare changes too.
        importlib.import_module("faultlab.doctor.experiments.data_changes")
        self.plain = importlib.import_module("faultlab.doctor.experiments.plain_loss").PlainLoss()
        self.wanted = dict(wanted)
        self.acted: dict[str, int] = dict.fromkeys(wanted, 0)

    def attach(self, patches: Patches) -> None:
        """Make the changes until the patches are removed, and measure the plain loss."""
        self.plain.attach(patches)
        for name, value in self.wanted.items():
            _CHANGES[name](self, patches, value)

    def note(self, name: str) -> None:
        self.acted[name] += 1


def change(name: str) -> Callable[[Attach], Attach]:
    """Declare the decorated function as what makes a change."""

    def declare(attach: Attach) -> Attach:
        _CHANGES[name] = attach
        return attach

    return declare


@change("rate")
def _rate(applied: Applied, patches: Patches, factor: float) -> None:
    """Multiply the learning rate of each step, whatever sets it."""

    def scaled(group: dict[str, Any]) -> dict[str, Any]:
        return {"lr": group["lr"] * factor} if rate_in(group, "lr") else {}

    _in_steps(applied, patches, "rate", scaled)


@change("schedule")
def _schedule(applied: Applied, patches: Patches, off: bool) -> None:
    """Step with the rates that the optimizers were made with."""
    asked: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()

    def making(construct: Callable[..., Any]) -> Callable[..., Any]:
        def around(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            construct(optimizer, *args, **kwargs)
            asked.setdefault(optimizer, [rate_in(group, "lr") for group in optimizer.param_groups])

        return around

    def constant(group: dict[str, Any]) -> dict[str, Any]:
        for optimizer, rates in asked.items():
            for one, rate in zip(optimizer.param_groups, rates, strict=False):
                if one is group and rate and rate != rate_in(group, "lr"):
                    return {"lr": rate}
        return {}

    patches.wrap(torch.optim.Optimizer, "__init__", making)
    _in_steps(applied, patches, "schedule", constant)


@change("decay")
def _decay(applied: Applied, patches: Patches, off: bool) -> None:
    """Step without weight decay."""
    _in_steps(applied, patches, "decay", lambda group: {"weight_decay": 0} if group.get("weight_decay") else {})


@change("adamw")
def _adamw(applied: Applied, patches: Patches, rate: float) -> None:
    """Step the weights of each optimizer with AdamW and its usual settings."""
    own: weakref.WeakKeyDictionary[Any, torch.optim.AdamW] = weakref.WeakKeyDictionary()
    making_own = [False]

    def step(optimizer: Any, closure: Callable[[], Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        held = [one for group in optimizer.param_groups for one in group["params"]]
        mine = own.get(optimizer)
        if mine is None or len(held) != len(mine.param_groups[0]["params"]):
            making_own[0] = True
            mine = own[optimizer] = torch.optim.AdamW(held, lr=rate, weight_decay=0.0)
            making_own[0] = False
        mine.step()
        applied.note("adamw")
        return loss

    def making(construct: Callable[..., Any]) -> Callable[..., Any]:
        def around(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            construct(optimizer, *args, **kwargs)
            if not making_own[0]:
                # A schedule wraps a bound method.
                optimizer.step = MethodType(step, optimizer)

        return around

    patches.wrap(torch.optim.Optimizer, "__init__", making)


@change("cleared")
def _cleared(applied: Applied, patches: Patches, on: bool) -> None:
    """Clear the gradients of an optimizer's weights after each of its steps."""

    def after(optimizer: Any, args: Any, kwargs: Any) -> None:
        applied.note("cleared")
        for group in optimizer.param_groups:
            for one in group["params"]:
                one.grad = None

    patches.on_exit(register_optimizer_step_post_hook(after).remove)


@change("clipping")
def _clipping(applied: Applied, patches: Patches, off: bool) -> None:
    """Leave gradients as they are where torch's functions would clip them."""

    def make(clip: Callable[..., Any]) -> Callable[..., Any]:
        def around(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            held = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
            gradients: list[torch.Tensor] = [one.grad for one in held if one.grad is not None]
            kept = [one.clone() for one in gradients]
            norm = clip(held, *args, **kwargs)
            # Clipping is done in place.
            if any(not torch.equal(one, before) for one, before in zip(gradients, kept, strict=True)):
                applied.note("clipping")
            for one, before in zip(gradients, kept, strict=True):
                one.copy_(before)
            return norm

        return around

    wrap_functions(patches, make)


@change("dropout")
def _dropout(applied: Applied, patches: Patches, off: bool) -> None:
    """Let every dropout pass its input on."""

    def make(drop: Callable[..., Any]) -> Callable[..., Any]:
        def around(value: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
            if training and p:
                applied.note("dropout")
            return value

        return around

    for name in _DROPOUTS:
        patches.wrap(nn.functional, name, make)


@change("precision")
def _precision(applied: Applied, patches: Patches, off: bool) -> None:
    """Compute in the weights' own precision: without autocast."""

    def make(construct: Callable[..., Any]) -> Callable[..., Any]:
        def around(context: Any, device: str, dtype: Any = None, enabled: bool = True, *args: Any, **more: Any) -> None:
            if enabled:
                applied.note("precision")
            construct(context, device, dtype, False, *args, **more)

        return around

    patches.wrap(torch.autocast, "__init__", make)


_ENOUGH = 16
"""Fewest weights of a layer whose deviation is compared."""
_ALIKE = 2.0


@change("initial")
def _initial(applied: Applied, patches: Patches, on: bool) -> None:
    """Give the layers that an optimizer trains their default initial weights, once it is made."""
    done: set[int] = set()

    def making(construct: Callable[..., Any]) -> Callable[..., Any]:
        def around(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            construct(optimizer, *args, **kwargs)
            held = {id(one) for group in optimizer.param_groups for one in group["params"]}
            for layer in [one for one in layers() if callable(getattr(type(one), "reset_parameters", None))]:
                own = [id(one) for one in layer.parameters(recurse=False)]
                if own and held.issuperset(own) and not done & set(own):
                    done.update(own)
                    before = [one.detach().clone() for one in layer.parameters(recurse=False)]
                    layer.reset_parameters()
                    # Other weights of the same distribution are only another seed.
                    if any(map(_otherwise_drawn, before, layer.parameters(recurse=False))):
                        applied.note("initial")

        return around

    patches.wrap(torch.optim.Optimizer, "__init__", making)


def _otherwise_drawn(weights: torch.Tensor, default: torch.Tensor) -> bool:
    """Return whether initial weights are spread otherwise than default ones, or repeat their values."""
    if weights.numel() < _ENOUGH or not weights.is_floating_point():
        return False
    usual = float(default.detach().std())
    spread = float(weights.std())
    if not usual:
        # A normalization's default weights are all one, its biases all zero.
        return not torch.equal(weights, default)
    distinct, expected = (len(torch.unique(one.detach())) for one in (weights, default))
    repeats = 2 * distinct < expected
    return repeats or not usual / _ALIKE < spread < usual * _ALIKE


@change("standardized")
def _standardized(applied: Applied, patches: Patches, on: bool) -> None:
    """Give models with weights their first input with mean 0 and deviation 1, by the statistics of the first one."""
    depth: list[int] = [0]
    scale: list[torch.Tensor] = []

    def make(call: Callable[..., Any]) -> Callable[..., Any]:
        def around(module: Any, *args: Any, **kwargs: Any) -> Any:
            outer, depth[0] = depth[0] == 0, depth[0] + 1
            try:
                if outer and args and _is_floating(args[0]) and next(module.parameters(), None) is not None:
                    if not scale:
                        scale.extend((args[0].mean(), args[0].std().clamp_min(1e-12)))
                    applied.note("standardized")
                    args = ((args[0] - scale[0]) / scale[1], *args[1:])
                return call(module, *args, **kwargs)
            finally:
                depth[0] -= 1

        return around

    patches.wrap(nn.Module, "__call__", make)


@change("seed")
def _seed(applied: Applied, patches: Patches, added: int) -> None:
    """Seed torch with other numbers than it is asked to."""

    def make(seed: Callable[..., Any]) -> Callable[..., Any]:
        def around(number: int) -> Any:
            applied.note("seed")
            return seed(int(number) + added)

        return around

    patches.wrap(torch, "manual_seed", make)
    patches.wrap(torch.random, "manual_seed", make)


@change("own statistics")
def _own_statistics(applied: Applied, patches: Patches, on: bool) -> None:
    """Normalize evaluated batches with their own statistics, not with those that BatchNorm keeps."""

    def make(normalize: Callable[..., Any]) -> Callable[..., Any]:
        def around(value: Any, mean: Any, variance: Any, weight: Any = None, bias: Any = None, training: bool = False,
                   momentum: float = 0.1, eps: float = 1e-5) -> Any:  # fmt: skip
            if training or torch.is_grad_enabled() or len(value) < 2:
                return normalize(value, mean, variance, weight, bias, training, momentum, eps)
            applied.note("own statistics")
            return normalize(value, None, None, weight, bias, True, 0.0, eps)

        return around

    patches.wrap(nn.functional, "batch_norm", make)


@change("evaluates at rest")
def _at_rest(applied: Applied, patches: Patches, on: bool) -> None:
    """Put each model that is called without gradients into evaluation mode during the call."""
    depth = [0]

    def make(call: Callable[..., Any]) -> Callable[..., Any]:
        def around(module: Any, *args: Any, **kwargs: Any) -> Any:
            outer, depth[0] = depth[0] == 0, depth[0] + 1
            awake = [one for one in module.modules() if one.training] if outer and not torch.is_grad_enabled() else []
            try:
                for one in awake:
                    one.training = False
                if awake:
                    applied.note("evaluates at rest")
                return call(module, *args, **kwargs)
            finally:
                depth[0] -= 1
                for one in awake:
                    one.training = True

        return around

    patches.wrap(nn.Module, "__call__", make)


def _in_steps(
    applied: Applied, patches: Patches, name: str, changed: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Change settings of each parameter group for the time of a step."""
    kept: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def before(optimizer: Any, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            if values := changed(group):
                kept.append((group, {key: group[key] for key in values}))
                group.update(values)
                applied.note(name)

    def after(optimizer: Any, args: Any, kwargs: Any) -> None:
        while kept:
            group, values = kept.pop()
            group.update(values)

    patches.on_exit(register_optimizer_step_pre_hook(before).remove)
    patches.on_exit(register_optimizer_step_post_hook(after).remove)


def _is_floating(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def layers() -> Iterator[Any]:
    """Yield every module of this process."""
    for one in gc.get_objects():
        # Not isinstance: proxies answer for what they stand for.
        if issubclass(type(one), nn.Module):
            yield one
