"""The Trainers of a training script: they remember their arguments, do nothing before fit, and stop there."""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import Any

from faultlab.core.asking import asked
from faultlab.core.packages import NAMESPACES
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import namespaces, private_api, script_callbacks

# Arguments without use in one run of hundreds: devices, outputs, displays.
_LEFT_OUT = {"accelerator", "barebones", "default_root_dir", "detect_anomaly", "devices", "enable_checkpointing",
             "enable_model_summary", "enable_progress_bar", "fast_dev_run", "logger", "max_time", "num_nodes",
             "plugins", "profiler", "strategy", "sync_batchnorm"}  # fmt: skip
_HALF = ("16", "16-true", "16-mixed")
_ARGUMENTS = "__faultlab_arguments__"
_AT_FIRST = "__faultlab_callbacks__"
_STOCK = "__faultlab_stock__"
_DEFINED_IN = tuple(f"{namespace}.trainer.trainer" for namespace in NAMESPACES)
_WANDB = "wandb"
_POINTS = 100
"""The number of points of a learning-rate search, the same as Lightning's own."""


class Reached(BaseException):
    """Raised out of ``Trainer.fit``, past any except clause of the script.

    ``call`` has the arguments of fit, ``folder`` is the working folder at that time.
    """

    def __init__(self, trainer: Any, call: Mapping[str, Any]) -> None:
        self.trainer = trainer
        self.call = dict(call)
        self.folder = os.getcwd()
        super().__init__("Trainer.fit was reached")


@contextmanager
def intercepted(trains: str = "") -> Iterator[list[Reached]]:
    """Yield a list that receives every call of ``Trainer.fit``, which raises it; both Lightning packages are covered.

    This includes packages that are imported inside the context. Runs of Weights & Biases are disabled, whatever mode
    they request: the program that writes them is not confined.

    Args:
        trains: The name of a class; fits of other modules then do nothing.
    """
    caught: list[Reached] = []
    with Patches() as patches:

        def arrived(module: ModuleType) -> None:
            if module.__name__ == _WANDB:
                patches.wrap(module, "init", _disabled)
            else:
                _intercept(patches, module.Trainer, caught, trains)

        for name in (*_DEFINED_IN, _WANDB):
            if name in sys.modules:
                arrived(sys.modules[name])
        finder = _Arrivals(arrived)
        sys.meta_path.insert(0, finder)
        patches.on_exit(lambda: sys.meta_path.remove(finder))
        yield caught


class _Arrivals(MetaPathFinder):
    """Reports every module to be patched, as soon as it has been imported."""

    def __init__(self, arrived: Callable[[ModuleType], None]) -> None:
        self._arrived = arrived

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in (*_DEFINED_IN, _WANDB):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Reporting(spec.loader, self._arrived)
        return spec


class _Reporting(Loader):
    def __init__(self, loader: Loader, arrived: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._arrived = arrived

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Code that asks for a loader's own methods must not find the stand-in.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._arrived(module)


def _disabled(init: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: init(*args, **{**kwargs, "mode": "disabled"})


def _intercept(patches: Patches, trainer: type, caught: list[Reached], trains: str) -> None:
    def remembering(init: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(init)

        def initialised(self: Any, *args: Any, **kwargs: Any) -> None:
            given = dict(signature.bind(self, *args, **kwargs).arguments)
            given.pop(next(iter(signature.parameters)))
            # Copied, because the Trainer adds its own callbacks to the same list.
            remembered = {name: list(value) if isinstance(value, list) else value for name, value in given.items()}
            # As victims will run it: the hardware that the script requests may be missing, and must not be looked for.
            here = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "plugins": None}
            changed = {**given, **{name: value for name, value in here.items() if name in given}}
            if str(given.get("precision")) in _HALF:
                del changed["precision"]
            before = set(vars(self))
            init(self, **changed)
            setattr(self, _STOCK, set(vars(self)) - before)
            setattr(self, _ARGUMENTS, remembered)
            setattr(self, _AT_FIRST, list(self.callbacks))

        return initialised

    def reaching(fit: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(fit)

        def reached(self: Any, *args: Any, **kwargs: Any) -> None:
            call = dict(signature.bind(self, *args, **kwargs).arguments)
            if trains and trains not in {cls.__name__ for cls in type(call.get("model")).__mro__}:
                return
            if (search := _searching(self)) is not None:
                _unsearched(search, (call.get("model"), call.get("datamodule")))
                return
            caught.append(Reached(self, call))
            raise caught[-1]

        return reached

    def idle(method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, *args, **kwargs: []

    patches.wrap(trainer, "__init__", remembering)
    patches.wrap(trainer, "fit", reaching)
    for method in ("validate", "test", "predict"):
        patches.wrap(trainer, method, idle)


def _searching(trainer: Any) -> Any:
    """Return the callback for which a Tuner calls fit."""
    return next(filter(private_api.searches, trainer.callbacks), None)


def _unsearched(search: Any, holders: Sequence[Any]) -> None:
    """Give a search its result without searching: the current learning rate or batch size."""
    if hasattr(search, "optimal_lr"):
        rate = _setting(holders, ("lr", "learning_rate"), 1e-3)
        search.optimal_lr = private_api.found_rate(search, rate, _POINTS)
    else:
        search.optimal_batch_size = _setting(holders, ("batch_size",), private_api.first_batch_size(search))


def _setting(holders: Sequence[Any], names: Sequence[str], otherwise: Any) -> Any:
    """Return a setting of a module or data module, from its attributes or its hyperparameters."""
    for holder in (one for each in holders for one in (each, asked(each, "hparams"))):
        for name in names:
            if (value := asked(holder, name)) is not None:
                return value
    return otherwise


def data_of(reached: Reached) -> Any:
    """Return the data module, loader or pair of loaders passed to fit; None if the module has its own."""
    call = reached.call
    data = call.get("datamodule")
    if data is None and (loaders := call.get("train_dataloaders")) is not None:
        validation = call.get("val_dataloaders")
        both = validation is not None or isinstance(loaders, tuple)
        data = (loaders, validation) if both else loaders
    return data


def trainer_arguments(trainer: Any, keep: frozenset[str], without: Sequence[str]) -> dict[str, Any]:
    """Return the script's Trainer arguments that matter in one run of many, with its callbacks sorted."""
    given = dict(getattr(trainer, _ARGUMENTS, {}))
    kept = {name: value for name, value in given.items() if name not in _LEFT_OUT or name in keep}
    if str(kept.get("precision")) in _HALF:
        del kept["precision"]
    found = script_callbacks.sort(callbacks(trainer), without)
    kept.update(callbacks=found.training, guards=found.guards)
    own = type(trainer)
    if not namespaces.is_lightnings(own):
        kept["trainer_class"] = _rebuilt(trainer)
    return kept


def _rebuilt(trainer: Any) -> type:
    """Return a subclass of a Trainer's own class that takes the arguments which reached Lightning's constructor.

    Attributes that the subclass set on its Trainer are set on the new one as well.
    """
    own = type(trainer)
    init = vars(next(cls for cls in own.__mro__ if namespaces.is_lightnings(cls)))["__init__"]
    stock = {*getattr(trainer, _STOCK, vars(trainer)), _STOCK, _ARGUMENTS, _AT_FIRST}
    more = {name: value for name, value in vars(trainer).items() if name not in stock}

    @functools.wraps(init)
    def initialised(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        vars(self).update({name: self if value is trainer else value for name, value in more.items()})

    return type(own.__name__, (own,), {"__init__": initialised, "__module__": own.__module__})


def plain_arguments(trainer: Any) -> dict[str, Any]:
    """Return the arguments of the script's Trainer that are plain values."""
    given = getattr(trainer, _ARGUMENTS, {})
    return {name: value for name, value in given.items() if isinstance(value, (bool, int, float, str))}


def left_out(trainer: Any, keep: Sequence[str], without: Sequence[str]) -> list[tuple[str, str]]:
    """Return the callbacks, and then the arguments, that a run leaves out, with the reasons."""
    usual = inspect.signature(type(trainer).__init__).parameters
    other = [
        (name, f"{_why(name)}; to keep the script's, write `keep: [{name}]` under `init_args` of `build`")
        for name, value in getattr(trainer, _ARGUMENTS, {}).items()
        if name in _LEFT_OUT and name not in keep and value is not None
        if name not in usual or value is not usual[name].default
    ]
    return [*script_callbacks.sort(callbacks(trainer), without).left_out, *other]


def _why(argument: str) -> str:
    return "faultlab trains without one" if argument == "logger" else "faultlab uses its own"


def callbacks(trainer: Any) -> list[Any]:
    """Return the callbacks that the script passes to its Trainer or adds to it later."""
    given = getattr(trainer, _ARGUMENTS, {}).get("callbacks") or []
    first = list(given) if isinstance(given, (list, tuple)) else [given]
    known = [*first, *getattr(trainer, _AT_FIRST, [])]
    return first + [callback for callback in trainer.callbacks if not any(callback is one for one in known)]
