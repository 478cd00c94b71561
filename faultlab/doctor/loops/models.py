"""In the victim: the modules that a loop calls, their modes, and their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from faultlab.core.class_paths import path_of
from faultlab.frameworks.torch import layers

_BY_MODE = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
_KEPT = 6
_RARELY, _BEHIND = 0.5, 0.1


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
        self._evaluated: list[tuple[nn.Module, set[int]]] = []
        self._backwards = 0
        self._wrappers: list[tuple[str, nn.Module, nn.Module]] = []
        self._known: dict[int, list[nn.Module]] = {}

    def called(self, module: nn.Module, learning: bool) -> None:
        """Note a call of a module by the loop itself."""
        if not learning:
            self._note(module)
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
        self._backwards += 1
        for one in called:
            one.last_backward = number
            one.passes.add(this_pass)

    def wrapping(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the constructor of a module that trains another one in parallel."""

        def around(wrapper: Any, module: nn.Module, *args: Any, **kwargs: Any) -> None:
            construct(wrapper, module, *args, **kwargs)
            self._wrappers.append((type(wrapper).__name__, wrapper, module))

        return around

    def compiling(self, compile_: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``torch.compile``, to note the modules that it returns."""

        def around(*args: Any, **kwargs: Any) -> Any:
            result = compile_(*args, **kwargs)
            if isinstance(result, nn.Module) and args and isinstance(args[0], nn.Module) and result is not args[0]:
                self._wrappers.append(("torch.compile", result, args[0]))
            return result

        return around

    def uncalled_wrapper(self) -> str:
        """Return the name of a wrapper that the loop has made and never calls, while it trains the module inside."""
        called = [one.module for one in self.trained]
        inner = [module for _, _, module in self._wrappers]
        for name, wrapper, module in self._wrappers:
            outer = any(wrapper is one for one in called) or any(wrapper is one for one in inner)
            if not outer and any(module is one for one in called):
                return name
        return ""

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
        # Those that were loaded, or begin alike, continue others, as the clients of federated learning do.
        begun = {tuple(float(value.double().sum()) for value in one.before.values()) for one in alike}
        loaded = any(id(value) in self.loaded for one in alike for value in one.module.parameters())
        if loaded or len(begun) < len(alike):
            return 0
        passes = [one.passes for one in alike]
        if len(alike) < 2 or any(len(one) != 1 for one in passes) or len(set().union(*passes)) != len(alike):
            return 0
        return len(alike) + self.remade

    def behind(self) -> dict[str, Any]:
        """Return the facts of a copy that is evaluated in place of the model that learns, and stays behind it.

        ``share`` is how far its weights are from those that the learning one began with, relative to the way that it
        has gone, ``passes`` the number of backward passes after which the copy was called. Empty if there is none.
        """
        root = self.root
        if root is None:
            return {}
        learning = {id(value) for one in self.trained for value in one.module.parameters()}
        if any(id(value) in learning for module, _ in self._evaluated for value in module.parameters()):
            return {}
        gone = _distance(dict(_weights(root.module)), root.before)
        for module, steps in self._evaluated:
            weights = dict(_weights(module))
            alike = {name: value.shape for name, value in weights.items()} == {
                name: value.shape for name, value in root.before.items()
            }
            # A teacher is called in every step, for the loss.
            if not alike or len(steps) > _RARELY * self._backwards or not gone:
                continue
            share = _distance(weights, root.before) / gone
            if share < _BEHIND:
                return {"share": share, "passes": len(steps), "class": type(module).__name__}
        return {}

    def _note(self, module: nn.Module) -> None:
        if not self._backwards:
            return
        steps = next((steps for known, steps in self._evaluated if known is module), None)
        if steps is None and len(self._evaluated) < _KEPT:
            self._evaluated.append((module, steps := set()))
        if steps is not None:
            steps.add(self._backwards)

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


def _distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    parts = [(one[name].detach().double().cpu(), value.double().cpu()) for name, value in other.items()]
    return math.sqrt(sum(float((mine - theirs).square().sum()) for mine, theirs in parts))


def _size(module: nn.Module) -> int:
    return sum(value.numel() for _, value in _weights(module))
