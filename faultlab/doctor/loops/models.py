"""In the victim: the modules that a loop calls, their modes, and their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from faultlab.core.class_paths import path_of
from faultlab.frameworks.torch import layers

_BY_MODE = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
_KEPT = 6


class Trained:
    """One module that the loop calls with gradients enabled, and its course.

    ``passes`` has the numbers of the passes over a training loader in which it was called.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.layers = [part for part in module.modules() if isinstance(part, _BY_MODE) and _matters(part)]
        self.norms = [type(part).__name__ for part in self.layers if isinstance(part, nn.modules.batchnorm._NormBase)]
        self.passes: set[int] = set()
        self.modes = {"learns in training": 0, "learns in evaluation": 0}
        self.last_backward = -1
        self.resting = {id(value) for part in layers.resting(module) for value in part.parameters()}
        self.before = {name: value.detach().clone() for name, value in _weights(module)}

    def parameters(self, optimizers: list[Any], alive: set[int], loaded: set[int], graded: set[int]) -> dict[str, Any]:
        """Return the names of weights that changed, stood still, are frozen, left out, or got no gradient.

        ``alive`` has the ids of the weights of all modules, ``loaded`` those of weights that were loaded from a state,
        ``graded`` those of weights that had a gradient in some step.
        """
        held = {id(one): one for optimizer in optimizers for group in optimizer.param_groups for one in group["params"]}
        found: dict[str, Any] = {"changed": [], "still": [], "frozen": [], "left_out": [], "gradientless": [],
                                 "loaded": []}  # fmt: skip
        for name, value in _weights(self.module):
            old = self.before.get(name)
            same = old is not None and old.shape == value.shape and torch.equal(old, value.detach().to(old))
            found["still" if same else "changed"].append(name)
            if not value.requires_grad:
                found["frozen"].append(name)
                # In eval mode, a part such as a teacher is meant to stay as it is.
                found["loaded"] += [name] if id(value) in loaded | self.resting else []
            elif id(value) not in held:
                found["left_out"].append(name)
            elif value.grad is None and id(value) not in graded:
                found["gradientless"].append(name)
        rates = [float(group.get("lr", 1.0)) for one in optimizers for group in one.param_groups]
        return {
            **found,
            "optimizers": [type(one).__name__ for one in optimizers],
            "largest_rate": max(rates, default=None),
            "gone": len(set(held) - alive),
        }


class Models:
    """The modules that a loop calls by themselves and that have weights.

    ``loads_itself`` is the place at which a module's own tensors were loaded into it, after it had learnt.
    ``evaluated`` counts calls without gradients: those with such layers in training mode, and those without.
    """

    def __init__(self, place: Callable[[], str]) -> None:
        self._place = place
        self.trained: list[Trained] = []
        self.evaluated = {"in training": 0, "in evaluation": 0}
        self.remade = 0
        self.loaded: set[int] = set()
        self.loads_itself = ""
        self._called: list[Trained] = []
        self._known: dict[int, list[nn.Module]] = {}

    def called(self, module: nn.Module, learning: bool) -> None:
        """Note a call of a module by the loop itself."""
        if not learning:
            layers = self._layers(module)
            if layers:
                self.evaluated["in training" if any(one.training for one in layers) else "in evaluation"] += 1
            return
        one = next((one for one in self.trained if one.module is module), None)
        if one is None:
            if len(self.trained) >= _KEPT:
                self.remade += 1
                return
            one = Trained(module)
            self.trained.append(one)
        if not any(one is other for other in self._called):
            self._called.append(one)
        if one.layers:
            resting = not any(layer.training for layer in one.layers) and not module.training
            one.modes["learns in evaluation" if resting else "learns in training"] += 1

    def learnt(self, number: int, this_pass: int) -> None:
        """Note a backward pass, which the modules called since the last one learn from."""
        called, self._called = self._called, []
        for one in called:
            one.last_backward = number
            one.passes.add(this_pass)

    def loading(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``load_state_dict`` to note the weights that are loaded."""

        def around(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            given = args[0] if args else kwargs.get("state_dict")
            if self.trained and isinstance(given, Mapping) and _is_of(module, given):
                self.loads_itself = self._place()
            result = load(module, *args, **kwargs)
            self.loaded.update(map(id, module.parameters()))
            return result

        return around

    @property
    def first(self) -> nn.Module | None:
        """The module that learnt first."""
        return self.trained[0].module if self.trained else None

    @property
    def root(self) -> Trained | None:
        """The module with the most weights; of several alike the one that learnt last."""
        return max(self.trained, key=lambda one: (_size(one.module), one.last_backward), default=None)

    def made_again(self) -> int:
        """Return how many modules of the root's class learnt, if each did so in a single pass; else 0."""
        root = self.root
        alike = [one for one in self.trained if root is not None and type(one.module) is type(root.module)]
        alike = [one for one in alike if one.last_backward >= 0]
        passes = [one.passes for one in alike]
        if len(alike) < 2 or any(len(one) != 1 for one in passes) or len(set().union(*passes)) != len(alike):
            return 0
        return len(alike) + self.remade

    def _layers(self, module: nn.Module) -> list[nn.Module]:
        known = self._known.get(id(module))
        if known is None:
            known = [part for part in module.modules() if isinstance(part, _BY_MODE) and _matters(part)]
            if len(self._known) < _KEPT:
                self._known[id(module)] = known
        return known


def described(module: nn.Module) -> dict[str, str]:
    """Return the name and path of a module's class."""
    return {"name": type(module).__name__, "path": path_of(type(module))}


def _matters(layer: Any) -> bool:
    return bool(layer.p) if isinstance(layer, nn.modules.dropout._DropoutNd) else layer.running_mean is not None


def _is_of(module: nn.Module, state: Mapping[str, Any]) -> bool:
    """Return whether a state has the module's own tensors, all of them."""
    own = {value.data_ptr() for value in module.parameters() if value.numel()}
    given = {value.data_ptr() for value in state.values() if isinstance(value, torch.Tensor) and value.numel()}
    return bool(own) and own <= given


def _weights(module: nn.Module) -> list[tuple[str, Any]]:
    lazy = nn.parameter.UninitializedParameter
    return [(name, value) for name, value in module.named_parameters() if not isinstance(value, lazy)]


def _size(module: nn.Module) -> int:
    return sum(value.numel() for _, value in _weights(module))
