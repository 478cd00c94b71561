"""The checkpoints of a loop: the modules and optimizers that it saves, with `torch.save` or safetensors."""

from __future__ import annotations

import copy
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from faultlab.core import packages
from faultlab.core.patching import Patches
from faultlab.injection.values import Restored

Save = Callable[[Any, Any], None]
"""Saves an object to a path or to an open file."""

COUNTER = "n_averaged"
"""The name, in the state of torch's AveragedModel, of the number of its updates."""

_DEEPEST = 4
_SAVING = (
    ("safetensors.torch", "save_file"),
    # Fabric's: it saves to memory and writes that to the file.
    *((f"{fabric}.utilities.cloud_io", "_atomic_save") for fabric in packages.FABRIC),
)
"""The functions of other packages that save an object to a file, besides torch's, by module."""
_SAFE = ".safetensors"
_WRAPPERS = ("module.", "_orig_mod.")


class Checkpoints:
    """Follows `torch.save`, `safetensors.torch.save_file`, Fabric's saving and `Module.load_state_dict`.

    Args:
        modules: Returns the modules of the loop that are trained.
        updates: Returns the number of optimizer steps so far.

    Attributes:
        files: The names of the saved files with all weights of the first module, that of the latest last.
        kinds: What they hold: ``weights``, ``optimizer``.
        keeps_average: A file holds an average by torch's AveragedModel, beside the weights.
        saved_at: Receives the number of optimizer steps at each saved checkpoint.
        around_save: What a fault adds: it saves an object to a path or an open file in place of the function it gets.
        weight_maps: What a fault adds: it maps the weights that a module is about to load.
    """

    def __init__(self, modules: Callable[[], list[nn.Module]], updates: Callable[[], int]) -> None:
        self._modules, self._updates = modules, updates
        self.files: dict[str, None] = {}
        self.kinds: set[str] = set()
        self.keeps_average = False
        self.saved_at: set[int] = set()
        self.around_save: list[Callable[[Any, Any, Save], None]] = []
        self.weight_maps: list[Callable[[Restored], Restored]] = []
        self._inside = False

    def attach(self, patches: Patches) -> None:
        """Follow the process until the patches are closed."""
        patches.wrap(torch, "save", self._saving)
        functions = (getattr(sys.modules.get(module), name, None) for module, name in _SAVING)
        patches.wrap_imported([function for function in functions if function is not None], self._saving)
        patches.wrap(nn.Module, "load_state_dict", self._loading)

    def best(self) -> str:
        """Return the name of the latest file that is named as the best checkpoint, else the last; empty without any."""
        best = [file for file in self.files if "best" in os.path.basename(file).lower()]
        return (best or list(self.files) or [""])[-1]

    def load_into(self, module: nn.Module, file: str) -> None:
        """Load a saved file's weights into a module, as a program that uses the trained model does."""
        if file.endswith(_SAFE):
            # Of parameters that several layers share it holds one.
            module.load_state_dict(sys.modules["safetensors.torch"].load_file(file), strict=not _shares(module))
            return
        content = torch.load(file, map_location="cpu", weights_only=False)
        found = [{_bare(name): value for name, value in state.items()} for _, state in weights_in(content, [module])]
        module.load_state_dict(max(found, key=lambda one: len(set(module.state_dict()) & set(one)), default={}))

    def _has_main(self, obj: Any) -> bool:
        main = self._modules()[:1]
        names = {name for module in main for name in _own_names(module)}
        return any(names <= set(map(_bare, state)) for _, state in weights_in(obj, main))

    def _saving(self, save: Callable[..., Any]) -> Callable[..., Any]:
        def saving(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
            weights = [state for _, state in weights_in(obj, self._modules())]
            held = bool(weights), any(optimizers_in(obj))
            if not any(held) or self._inside:
                save(obj, f, *args, **kwargs)
                return
            self.keeps_average |= 1 <= sum(COUNTER in state for state in weights) < len(weights)
            self.kinds |= set(itertools.compress(("weights", "optimizer"), held))
            if self._has_main(obj) and (name := name_of(f)):
                self.files.pop(name, None)
                self.files[name] = None

            def genuine(own: Any, file: Any) -> None:
                self.saved_at.add(self._updates())
                save(own, file, *args, **kwargs)

            self._inside = True
            try:
                (self.around_save[-1] if self.around_save else _plainly)(obj, f, genuine)
            finally:
                self._inside = False

        return saving

    def _loading(self, load: Callable[..., Any]) -> Callable[..., Any]:
        def loading(module: nn.Module, state_dict: Any, strict: bool = True, *args: Any, **kwargs: Any) -> Any:
            if self.weight_maps and not self._copies(state_dict):
                for mapped in self.weight_maps:
                    new = mapped(Restored(dict(state_dict), strict))
                    state_dict, strict = new.state, new.strict
            return load(module, state_dict, strict, *args, **kwargs)

        return loading

    def _copies(self, state: Any) -> bool:
        """Return whether the state is that of a module in training, as copied to a target network or an average."""
        live = {p.data_ptr() for module in self._modules() for p in module.parameters() if p.numel()}
        return any(isinstance(value, torch.Tensor) and value.data_ptr() in live for value in state.values())


def _own_names(module: nn.Module) -> set[str]:
    """Return the names in a module's state, one for each tensor."""
    parameters = {name for name, _ in module.named_parameters()}
    shared = {name for name, _ in module.named_parameters(remove_duplicate=False)} - parameters
    return set(module.state_dict()) - shared


def _shares(module: nn.Module) -> bool:
    return _own_names(module) < set(module.state_dict())


def name_of(file: Any) -> str:
    """Return the name of what an object is saved to; empty if it has none."""
    return os.fspath(file) if isinstance(file, (str, os.PathLike)) else str(getattr(file, "name", ""))


def _plainly(obj: Any, file: Any, save: Save) -> None:
    save(obj, file)


def weights_in(obj: Any, modules: list[nn.Module]) -> Iterator[tuple[tuple[Any, ...], Mapping[str, Any]]]:
    """Yield the weights of the modules in an object that is saved: path and state dict."""
    names = {name for module in modules for name in module.state_dict()}
    for path, value in _nodes(obj, ()):
        if isinstance(value, nn.Module):
            value = value.state_dict()
        if any(_bare(key) in names for key, part in value.items() if isinstance(part, torch.Tensor)):
            yield path, value


def optimizers_in(obj: Any) -> Iterator[tuple[tuple[Any, ...], Mapping[str, Any]]]:
    """Yield the optimizers' states in an object that is saved: path and state dict."""
    for path, value in _nodes(obj, ()):
        if isinstance(value, Mapping) and {"state", "param_groups"} <= set(value):
            yield path, value


def put(obj: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return the object with another state at a path; None takes away what is there. The original stays as it is."""
    if not path:
        if isinstance(obj, nn.Module):
            new = copy.deepcopy(obj)
            nn.Module.load_state_dict(new, value)
            return new
        return value
    changed = copy.copy(obj)
    if value is None and len(path) == 1:
        del changed[path[0]]
    else:
        changed[path[0]] = put(obj[path[0]], path[1:], value)
    return changed


def _nodes(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the mappings and modules inside of an object, each with its path."""
    if isinstance(value, (Mapping, nn.Module)):
        yield path, value
    if isinstance(value, nn.Module) or len(path) >= _DEEPEST:
        return
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _nodes(part, (*path, key))


def _bare(name: Any) -> str:
    """Return a parameter's name without the prefixes of modules that wrap others."""
    bare = str(name)
    for prefix in _WRAPPERS:
        bare = bare.removeprefix(prefix)
    return bare
