"""The model itself and what is configured on it: architecture, weights, optimizers and schedulers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from faultlab.core.patching import Patches
from faultlab.injection import tree
from faultlab.injection.seam import Seam, Site

if TYPE_CHECKING:
    from faultlab.core.target_profile import Recon
    from faultlab.injection.armed_fault import Armed

_FEW, _MANY = (list, tuple, dict), 16
_RATES = ("lr", "initial_lr", "max_lr", "min_lr")
_SCHEDULED_RATES = ("base_lrs", "max_lrs", "_last_lr")


@dataclass(frozen=True)
class Architecture(Seam):
    """The module after construction and before fit. The injector changes the module's layers or modes in place.

    The change is to this one module and stays with it; the next run builds another. Where somebody else builds the
    modules, it is to each of them as its constructor ends. Where there is nothing to change yet, since the module makes
    its layers in ``setup`` or ``configure_model``, it has its turn when they are there.
    """

    leaves = frozenset({"batches"})
    attach_at = "fit"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        changed: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        known = site.module

        def change(module: nn.Module) -> None:
            before = armed.activations
            done = bool(before) if known is not None else module in changed
            if not done and armed.due("train"):
                parts = dict(module.named_modules(remove_duplicate=False))
                armed.in_place(module, _structure)
                if armed.activations > before:
                    changed.add(module)
                    armed.replaced.update(_replaced(parts, module))

        def configuring(configure: Callable[..., Any]) -> Callable[..., Any]:
            def later(*args: Any, **kwargs: Any) -> Any:
                change(site.present(armed.clock.trainer))
                return configure(*args, **kwargs)

            return later

        def constructing(construct: Callable[..., Any]) -> Callable[..., Any]:
            def constructed(module: nn.Module, *args: Any, **kwargs: Any) -> None:
                construct(module, *args, **kwargs)
                if type(module) is site.cls:
                    change(module)

            return constructed

        if known is not None:
            change(known)
        else:
            patches.wrap(site.cls, "__init__", constructing)
        patches.wrap(site.owner("configure_optimizers"), "configure_optimizers", configuring)


@dataclass(frozen=True)
class Weights(Seam):
    """The parameters and buffers as a training step finds them. The injector changes them in place.

    Values, `requires_grad` and which tensors there are all count.
    """

    leaves = frozenset({"batches", "forward", "metrics"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(step: Callable[..., Any]) -> Callable[..., Any]:
            def around(*args: Any, **kwargs: Any) -> Any:
                if armed.due("train"):
                    module = site.present(armed.clock.trainer)
                    armed.in_place(module, _values)
                return step(*args, **kwargs)

            return around

        patches.wrap(site.owner("training_step"), "training_step", make)


@dataclass(frozen=True)
class Optimizers(Seam):
    """What ``configure_optimizers`` returns. The injector maps result -> result, or changes what is in it in place.

    The result has any of the forms that Lightning takes; ``optimizers_in`` and ``schedules_in`` find the parts, and as
    a pair they are another such form. Which parameters the module has by then counts too.
    """

    leaves = frozenset({"batches", "forward", "metrics"})
    attach_at = "fit"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(configure: Callable[..., Any]) -> Callable[..., Any]:
            def mapped(*args: Any, **kwargs: Any) -> Any:
                result = configure(*args, **kwargs)
                if not armed.due("train"):
                    return result
                module = armed.ctx.module or site.present(armed.clock.trainer)
                return armed.map(result, lambda result: [_configuration(result), _identities(module)])

            return mapped

        patches.wrap(site.owner("configure_optimizers"), "configure_optimizers", make)

    def inapplicable(self, recon: Recon) -> str:
        if not set(recon.optimizers) - {"_MockOptimizer"}:
            return "configure_optimizers returns no optimizer"
        return "" if recon.optimized_tensors else "no optimizer holds a parameter of the module"


@dataclass(frozen=True)
class OptimizerState(Seam):
    """What the optimizers remember (momenta, moments), as a training step finds it.

    The injector gets the list of optimizers and changes their ``state`` in place.
    """

    leaves = frozenset({"batches", "forward", "metrics"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(step: Callable[..., Any]) -> Callable[..., Any]:
            def around(*args: Any, **kwargs: Any) -> Any:
                if armed.due("train"):
                    optimizers = held_optimizers(site.present(armed.clock.trainer), armed.clock.trainer)
                    armed.in_place(optimizers, _memories)
                return step(*args, **kwargs)

            return around

        patches.wrap(site.owner("training_step"), "training_step", make)


def optimizers_in(result: Any) -> list[torch.optim.Optimizer]:
    """Every optimizer in what ``configure_optimizers`` returned, in order."""
    return [part for part in _parts(result) if isinstance(part, torch.optim.Optimizer)]


def held_optimizers(module: Any, trainer: Any) -> list[torch.optim.Optimizer]:
    """Every optimizer of the Trainer's, and those that the module keeps by itself, alone or a few together."""
    kept = [*optimizers_in(getattr(trainer, "optimizers", None))]
    for value in list(vars(module).values()):
        if isinstance(value, torch.optim.Optimizer) or (isinstance(value, _FEW) and len(value) <= _MANY):
            kept += optimizers_in(value)
    return list(dict.fromkeys(kept))


def groups_in(result: Any) -> list[dict[str, Any]]:
    """Every parameter group of those optimizers, in order."""
    return [group for optimizer in optimizers_in(result) for group in optimizer.param_groups]


def schedulers_in(result: Any) -> list[Any]:
    """Every scheduler in what ``configure_optimizers`` returned, in order."""
    return [part for part in _parts(result) if hasattr(part, "step") and not isinstance(part, torch.optim.Optimizer)]


def schedules_in(result: Any, monitor: Any = None) -> list[dict[str, Any]]:
    """Every scheduler in what ``configure_optimizers`` returned, in order, as the dict that Lightning takes."""
    if isinstance(result, Mapping):
        if "scheduler" in result:
            return [dict(result)]
        return [found for value in result.values() for found in schedules_in(value, result.get("monitor"))]
    if isinstance(result, (list, tuple)):
        return [found for value in result for found in schedules_in(value, monitor)]
    return [{"scheduler": part, **({"monitor": monitor} if monitor else {})} for part in schedulers_in(result)]


def scale_rates(result: Any, factor: float) -> Any:
    """Multiplies the learning rates in what ``configure_optimizers`` returned, those in its schedulers too."""
    for group in [group for optimizer in dict.fromkeys(optimizers_in(result)) for group in optimizer.param_groups]:
        group.update({name: group[name] * factor for name in _RATES if group.get(name) is not None})
    for outer in dict.fromkeys(schedulers_in(result)):
        for scheduler in [outer, *getattr(outer, "_schedulers", [])]:
            for name in _SCHEDULED_RATES:
                if isinstance(rates := getattr(scheduler, name, None), list):
                    setattr(scheduler, name, [rate * factor for rate in rates])
    return result


def hand_over(schedules: list[dict[str, Any]], old: torch.optim.Optimizer, new: torch.optim.Optimizer) -> None:
    """Gives the old optimizer's schedulers to the new one, without a word from torch."""
    for outer in [schedule["scheduler"] for schedule in schedules]:
        for scheduler in [outer, *getattr(outer, "_schedulers", [])]:
            if getattr(scheduler, "optimizer", None) is not old:
                continue
            settings = [dict(group) for group in new.param_groups]
            # A scheduler's constructor has torch count the optimizer's steps; without that it warns of their order.
            torch.optim.lr_scheduler.LambdaLR(new, lambda epoch: 1.0)
            for group, before in zip(new.param_groups, settings):
                group.clear()
                group.update(before)
            scheduler.optimizer = new


def _parts(result: Any) -> Iterator[Any]:
    if isinstance(result, Mapping):
        for value in result.values():
            yield from _parts(value)
    elif isinstance(result, (list, tuple)):
        for value in result:
            yield from _parts(value)
    elif result is not None:
        yield result


def _configuration(result: Any) -> list[Any]:
    found: list[Any] = []
    for optimizer in optimizers_in(result):
        for group in optimizer.param_groups:
            settings = sorted((key, repr(value)) for key, value in group.items() if key != "params")
            found.append([type(optimizer).__name__, [id(parameter) for parameter in group["params"]], settings])
    schedulers = [
        [id(getattr(scheduler, "optimizer", None)), repr(sorted(map(repr, vars(scheduler).items())))]
        for scheduler in schedulers_in(result)
    ]
    return [found, schedulers]


def _identities(module: nn.Module | None) -> list[int]:
    return [] if module is None else [id(parameter) for parameter in module.parameters()]


def _memories(optimizers: list[torch.optim.Optimizer]) -> list[Any]:
    return [[_copied(state) for state in optimizer.state.values()] for optimizer in optimizers]


def _copied(state: Any) -> Any:
    return tree.map_tensors(state, lambda tensor: tensor.detach().clone()) if isinstance(state, Mapping) else state


def _replaced(before: Mapping[str, nn.Module], module: nn.Module) -> dict[str, nn.Module]:
    """The submodules that are no longer where they were, without those inside of others that are not."""
    after = dict(module.named_modules(remove_duplicate=False))
    gone = {path for path, part in before.items() if after.get(path) is not part}
    return {path: before[path] for path in before if path in gone and path.rpartition(".")[0] not in gone}


def _structure(module: nn.Module) -> list[Any]:
    layers = [
        (name, id(part), type(part).__name__, part.extra_repr(), part.training) for name, part in module.named_modules()
    ]
    return [getattr(module, "automatic_optimization", None), layers, _values(module)]


def _values(module: nn.Module) -> list[Any]:
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return [(name, tensor.requires_grad, _content(tensor)) for name, tensor in tensors]


def _content(tensor: torch.Tensor) -> Any:
    """The tensor's values; its identity where it has none to compare (not yet initialised, or sparse)."""
    if is_lazy(tensor) or tensor.layout is not torch.strided:
        return id(tensor)
    return tensor.detach().clone()
