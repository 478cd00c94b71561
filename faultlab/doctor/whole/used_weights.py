"""In the victim: which modules learn, get loaded weights, and are evaluated: the last may be neither of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from faultlab.core.asking import asked
from faultlab.doctor.whole.history import History

_MOST, _LEAST, _UNRELATED, _ALIKE = 50, 200, 0.2, 0.5


class UsedWeights:
    """Follows loads, backward passes and evaluations.

    ``loads`` has an entry for each load of the user's: its ``place``, the ``module``'s class, how many names it was
    ``given`` and ``matched``, the ``prefix`` that the others have in addition, whether it got the module's ``own``
    tensors, and whether a module with these weights was called afterwards (``used``).
    """

    def __init__(self, place: Callable[[], str]) -> None:
        self._place = place
        self.history = History()
        self._optimizers: list[Any] = []
        self._stepped: set[int] = set()
        self._loads: list[tuple[dict[str, Any], nn.Module]] = []
        self._pending: list[nn.Module] = []
        self._learnt: list[nn.Module] = []
        self._learnt_ids: set[int] = set()
        self._evaluated: list[nn.Module] = []
        self._places: dict[int, str] = {}
        self._initial_statistics: dict[str, Any] = {}
        self._files = 0
        self._unrestored: dict[str, str] = {}

    def reading(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``torch.load``."""

        def around(*args: Any, **kwargs: Any) -> Any:
            found = load(*args, **kwargs)
            if place := self._place():
                self._files += 1
                if not self._unrestored and (key := _of_optimizer(found)):
                    self._unrestored = {"place": place, "key": key, "resumed": ""}
            return found

        return around

    def loading(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``Module.load_state_dict``."""

        def around(module: nn.Module, state: Any, *args: Any, **kwargs: Any) -> Any:
            self.history.close()
            own = {value.data_ptr() for value in module.state_dict().values() if value.numel()}
            outcome = load(module, state, *args, **kwargs)
            place = self._place()
            if place:
                self.history.loaded(module, place)
            if place and len(self._loads) < _MOST and isinstance(state, Mapping):
                given = [value for value in state.values() if isinstance(value, torch.Tensor) and value.numel()]
                missing = set(getattr(outcome, "missing_keys", ()))
                unknown = set(getattr(outcome, "unexpected_keys", ()))
                fact = {
                    "place": place,
                    "module": type(module).__name__,
                    "given": len(state),
                    "matched": len(state) - len(unknown),
                    "first": str(next(iter(unknown), "")),
                    "lacking": str(next(iter(missing), "")),
                    "prefix": _prefix(unknown, missing),
                    "own": bool(given) and all(value.data_ptr() in own for value in given),
                    "from_file": self._files,
                    "backwards": len(self._learnt),
                    "used": False,
                }
                self._loads.append((fact, module))
            return outcome

        return around

    def restoring(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``Optimizer.load_state_dict``."""

        def around(*args: Any, **kwargs: Any) -> Any:
            self._unrestored = {"place": ""}
            return load(*args, **kwargs)

        return around

    def stepped(self, optimizer: Any) -> None:
        """Note a step of an optimizer: whether it continues with weights from a file that has an optimizer's state."""
        self._stepped.add(id(optimizer))
        if not self._unrestored.get("place") or self._unrestored["resumed"] or not optimizer.state:
            return
        held = {id(one) for group in optimizer.param_groups for one in group["params"]}
        for fact, module in self._loads:
            whole = fact["from_file"] and fact["matched"] == fact["given"] and not fact["lacking"]
            if whole and held & set(map(id, module.parameters())):
                self._unrestored["resumed"] = type(optimizer).__name__

    def made(self, optimizer: Any) -> None:
        """Note a new optimizer."""
        if len(self._optimizers) < _MOST:
            self._optimizers.append(optimizer)

    def called(self, module: nn.Module, learning: bool) -> None:
        """Note a call of a module by the user's code."""
        self.history.called(module, learning)
        for fact, loaded in self._loads:
            if not fact["used"] and (loaded is module or _share(loaded, module)):
                fact["used"] = True
        if learning:
            if not any(module is one for one in self._pending):
                self._pending.append(module)
            return
        if not self._learnt:
            return
        self._evaluated = [*(one for one in self._evaluated if one is not module), module][-_MOST:]
        if id(module) not in self._places:
            self._places[id(module)] = self._place()
            self._look_at_statistics(module)

    def learnt(self) -> None:
        """Note a backward pass, which the modules called since the last one learn from."""
        pending, self._pending = self._pending, []
        for module in pending:
            if not any(module is one for one in self._learnt) and len(self._learnt) < _MOST:
                self._learnt.append(module)
                self._learnt_ids.update(map(id, module.parameters()))

    def facts(self) -> dict[str, Any]:
        """Return what is known as plain data."""
        loads = [fact for fact, _ in self._loads]
        return {
            "unrestored": self._unrestored,
            "loads": loads,
            "untrained": self._untrained(),
            "statistics": self._initial_statistics,
            "restored": self.history.restored,
            "unfitted": self._unfitted(),
        }

    def _unfitted(self) -> dict[str, Any]:
        """Return the facts of an evaluated module whose own optimizer never steps, if others of its class have learnt.

        They have other shapes: a copy of a trained module has the same ones.
        """
        for one in reversed(self._evaluated):
            own = set(map(id, one.parameters()))
            others = [other for other in self._learnt if type(other) is type(one)]
            idle = any(
                own & {id(value) for group in optimizer.param_groups for value in group["params"]}
                for optimizer in self._optimizers
                if id(optimizer) not in self._stepped
            )
            if idle and others and not self._reached(one) and not any(_alike(other, one) for other in self._learnt):
                trainer = asked(one, "trainer")
                shared = trainer is not None and any(asked(other, "trainer") is trainer for other in others)
                epochs, limit = (asked(trainer, name) for name in ("current_epoch", "max_epochs"))
                over = shared and isinstance(epochs, int) and isinstance(limit, int) and 0 < limit <= epochs
                return {"name": type(one).__name__, "place": self._places[id(one)], "epochs": limit if over else 0}
        return {}

    def _untrained(self) -> dict[str, Any]:
        """Return the facts of the module that is evaluated last, if it has learnt nothing, and others like it have."""
        last = self._evaluated[-1] if self._evaluated else None
        if last is None or self._reached(last):
            return {}
        alike = [one for one in self._learnt if _alike(one, last)]
        dropped = [fact for fact, one in self._loads if not fact["used"] and fact["matched"] and _alike(one, last)]
        related = max((_likeness(one, last) for one in alike), default=1.0)
        if related > (_ALIKE if dropped else _UNRELATED):
            return {}
        places = [one["place"] for one in dropped]
        return {"name": type(last).__name__, "place": self._places[id(last)], "dropped": places}

    def _reached(self, module: nn.Module) -> bool:
        """Return whether a module has learnt, or got loaded weights, at least in a part."""
        own = set(map(id, module.parameters()))
        loaded = {id(value) for fact, one in self._loads if fact["matched"] for value in one.parameters()}
        return not own or bool(own & (self._learnt_ids | loaded))

    def _look_at_statistics(self, module: nn.Module) -> None:
        """Note BatchNorm layers in eval mode whose statistics are still the initial ones."""
        if not any(_alike(one, module) for one in self._learnt):
            return
        for name, layer in module.named_modules():
            if (
                isinstance(layer, nn.modules.batchnorm._BatchNorm)
                and not layer.training
                and layer.running_mean is not None
                and layer.running_var is not None
                and layer.num_batches_tracked is not None
                and int(layer.num_batches_tracked) == 0
                and not bool(layer.running_mean.any())
                and bool((layer.running_var == 1).all())
            ):
                learns = bool(set(map(id, module.parameters())) & self._learnt_ids)
                self._initial_statistics = {
                    "layer": name or type(layer).__name__,
                    "module": type(module).__name__,
                    "copy": not learns,
                    "place": self._places[id(module)],
                }
                return


def _of_optimizer(found: Any) -> str:
    """Return the key of what was read from a file at which it has the state of an optimizer; empty without one."""
    for key, value in found.items() if isinstance(found, Mapping) else ():
        if isinstance(value, Mapping) and "param_groups" in value and value.get("state"):
            return str(key)
    return ""


def _share(one: nn.Module, other: nn.Module) -> bool:
    mine = next(one.parameters(), None)
    return mine is not None and any(mine is value for value in other.parameters())


def _shapes(module: nn.Module) -> list[Any]:
    return [tuple(value.shape) for value in module.parameters()]


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two modules have weights of the same shapes, maybe in a wrapper."""
    return _shapes(one) == _shapes(other)


def _likeness(one: nn.Module, other: nn.Module) -> float:
    """Return the correlation of the matrices of two modules."""
    pairs = [(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True) if a.dim() > 1]
    if not pairs:
        return 1.0
    first, second = (torch.cat([pair[side].detach().double().cpu().flatten() for pair in pairs]) for side in (0, 1))
    if first.numel() < _LEAST:
        return 1.0
    return abs(float(torch.nan_to_num(torch.corrcoef(torch.stack([first, second]))[0, 1], nan=1.0)))


def _prefix(given: Iterable[str], wanted: set[str]) -> str:
    """Return the prefix that the given names have and the wanted ones don't, or the reverse; empty without one."""
    for name in given:
        rest = str(name)
        while "." in rest:
            rest = rest.partition(".")[2]
            if rest in wanted:
                return str(name).removesuffix(rest)
        longer = next((one for one in wanted if one.endswith(f".{name}")), "")
        if longer:
            return longer.removesuffix(str(name))
    return ""
