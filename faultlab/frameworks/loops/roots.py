"""The modules of a loop that optimizers train: one, or several that the loop calls one by one."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Any

from torch import nn


class Together(nn.Module):
    """Several modules as one, for what looks at all their layers and weights. It is never called."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        for module in modules:
            name = type(module).__name__.lower()
            number = sum(known.rstrip("0123456789") == name for known in self._modules)
            self.add_module(f"{name}{number + 1}" if number else name, module)

    @property
    def training(self) -> bool:
        """True if one of them is in training mode."""
        return any(part.training for part in self.children())

    @training.setter
    def training(self, mode: bool) -> None:
        """Do nothing: each of them has its own mode."""


class Roots:
    """Finds the modules of a layout as a loop constructs them.

    Args:
        wanted: The class path and number of each, as in a `faultlab.frameworks.loops.layout.Layout`.
    """

    def __init__(self, wanted: Sequence[tuple[str, int]]) -> None:
        self._wanted = wanted
        self._constructed: dict[str, int] = {}
        self._found: dict[tuple[str, int], nn.Module] = {}
        self._alike: dict[str, list[nn.Module]] = {path: [] for path, _ in wanted}
        self._met: dict[str, list[nn.Module]] = {path: [] for path, number in wanted if number < 0}
        self._module: nn.Module | None = None
        self._parts: frozenset[int] | None = None

    @property
    def found(self) -> list[nn.Module]:
        """Those that are constructed, in the order of the layout."""
        return [self._found[one] for one in self._wanted if one in self._found]

    @property
    def module(self) -> nn.Module | None:
        """All of them as one module; None until the last is constructed."""
        if self._module is None and len(self._found) == len(self._wanted):
            # Their constructors are done: nothing is trained before.
            self._module = self.found[0] if len(self._wanted) == 1 else Together(self.found)
        return self._module

    def constructed(self, module: nn.Module, path: str) -> None:
        """Note that a module of the class at that path is being constructed."""
        number = self._constructed[path] = self._constructed.get(path, 0) + 1
        if path in self._alike:
            self._alike[path].append(module)
        if (path, number) in self._wanted:
            self._found[path, number] = module

    @property
    def awaits(self) -> bool:
        """True if a module that existed before has not been called yet."""
        return any(one not in self._found for one in self._wanted if one[1] < 0)

    def called(self, module: nn.Module, path: str) -> None:
        """Note that a module is called from outside of any other."""
        met = self._met.get(path)
        if met is not None and all(module is not known for known in (*met, *self._alike[path])):
            met.append(module)
            if (path, -len(met)) in self._wanted:
                self._found[path, -len(met)] = module

    def confirm(self, held: Collection[int]) -> None:
        """Take another module of the same class where a changed loop makes more or fewer of them than it made before.

        Args:
            held: The ids of the parameters that optimizers hold.
        """
        for one, module in [found for found in self._found.items() if found[0][1] > 0]:
            others = [other for other in self._alike[one[0]] if all(other is not known for known in self.found)]
            best = max(others, key=lambda other: _held(other, held), default=module)
            if not _held(module, held) and _held(best, held):
                self._found[one], self._module, self._parts = best, None, None

    def has(self, module: nn.Module) -> bool:
        """Return whether a module is one of them, or a part of one."""
        if self._parts is not None:
            return id(module) in self._parts
        return self.module is not None and any(module is part for part in self.module.modules())

    def replace(self) -> dict[str, nn.Module]:
        """Make each of several modules what has taken its place, since the loop calls the object that it has made.

        Return the originals as modules of their own, by the names of those that were replaced.
        """
        originals: dict[str, nn.Module] = {}
        if isinstance(self.module, Together):
            for (name, new), old in zip(list(self.module.named_children()), self.found):
                if new is not old:
                    originals[name] = _become(old, new)
                    self.module.add_module(name, old)
        return originals

    def settle(self) -> None:
        """Note that their parts do not change any more, and keep in mind which they are."""
        self._parts = frozenset(map(id, self.module.modules())) if self.module is not None else frozenset()


def _held(module: nn.Module, held: Collection[int]) -> int:
    return sum(id(parameter) in held for parameter in module.parameters())


def _become(old: nn.Module, new: nn.Module) -> nn.Module:
    """Give an object the class and content of another; return its own as another object."""
    own = copy.copy(old)
    for part in list(new.modules()):
        for name, child in part.named_children():
            if child is old:
                part.add_module(name, own)
    old.__class__ = new.__class__
    vars(old).clear()
    vars(old).update(vars(new))
    return own


def arguments(parameters: Sequence[Any], modules: Sequence[nn.Module]) -> list[nn.Module]:
    """Return the modules to call a function with that takes some of them.

    Args:
        parameters: The function's parameters (`inspect.Parameter`) that are to be filled.
        modules: The modules, the one with the most parameters first.

    Returns:
        For each parameter the module of its annotation or name; else the next of the others.
    """
    chosen: dict[int, nn.Module] = {}
    for place, parameter in enumerate(parameters):
        wanted = {parameter.name.replace("_", "").lower(), str(parameter.annotation).rpartition(".")[2].lower()}
        wanted.add(getattr(parameter.annotation, "__name__", "").lower())
        rest = [one for one in modules if all(one is not known for known in chosen.values())]
        if (fitting := next((one for one in rest if type(one).__name__.lower() in wanted), None)) is not None:
            chosen[place] = fitting
    rest = [one for one in modules if all(one is not known for known in chosen.values())]
    return [chosen[place] if place in chosen else rest.pop(0) for place in range(min(len(parameters), len(modules)))]
