"""The Trainers of a training script: they remember their arguments, do nothing before fit, and get no further."""

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
from faultlab.frameworks.lightning import namespaces, script_callbacks

# What has no place in a run that is one of hundreds: devices, what is written, what is shown.
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
"""Of a search for a learning rate, as many as Lightning's own has."""


class Reached(BaseException):
    """Thrown out of ``Trainer.fit``, past whatever the script catches.

    ``call`` has all that fit was given, ``folder`` is the working folder at that time.
    """

    def __init__(self, trainer: Any, call: Mapping[str, Any]) -> None:
        self.trainer = trainer
        self.call = dict(call)
        self.folder = os.getcwd()
        super().__init__("Trainer.fit was reached")


@contextmanager
def intercepted(trains: str = "") -> Iterator[list[Reached]]:
    """Yield a list that gets every call of ``Trainer.fit``, which raises it; both Lightning packages are covered.

    Also those that are imported meanwhile, wherever that is. Runs of Weights & Biases are disabled ones, whatever mode
    they are begun in: the program that writes them is out of reach.

    Args:
        trains: The name of a class; fits of other modules do nothing then.
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
    """Tells of every module that is to be changed, as soon as it has been imported."""

    def __init__(self, arrived: Callable[[ModuleType], None]) -> None:
        self._arrived = arrived

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in (*_DEFINED_IN, _WANDB):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Telling(spec.loader, self._arrived)
        return spec


class _Telling(Loader):
    def __init__(self, loader: Loader, arrived: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._arrived = arrived

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Nobody is to find the stand-in where a loader's own methods are asked for.
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
            # Copied: the Trainer puts callbacks of its own into the very list.
            remembered = {name: list(value) if isinstance(value, list) else value for name, value in given.items()}
            # As the victims will have it: what the script asks for may not be there, and must not be looked for.
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
    """The callback for whose sake a Tuner calls fit, which ends as soon as the callback has found something."""
    return next((callback for callback in trainer.callbacks if getattr(callback, "_early_exit", False)), None)


def _unsearched(search: Any, holders: Sequence[Any]) -> None:
    """What a search gives that was not made: the learning rate or the batch size that is there."""
    if hasattr(search, "optimal_lr"):
        tuner = importlib.import_module(type(search).__module__.replace("callbacks", "tuner"))
        rate = _setting(holders, ("lr", "learning_rate"), 1e-3)
        found = tuner._LRFinder(search._mode, rate, rate, _POINTS)
        found.results = {"lr": [rate] * _POINTS, "loss": [1 - point / _POINTS for point in range(_POINTS)]}
        search.optimal_lr = found
    else:
        search.optimal_batch_size = _setting(holders, ("batch_size",), search._init_val)


def _setting(holders: Sequence[Any], names: Sequence[str], otherwise: Any) -> Any:
    """A setting of a module's or data module's, as an attribute or among its hyperparameters."""
    for holder in (one for each in holders for one in (each, asked(each, "hparams"))):
        for name in names:
            if (value := asked(holder, name)) is not None:
                return value
    return otherwise


def data_of(reached: Reached) -> Any:
    """The data module, loader or pair of loaders that a call of fit was given; None where the module has its own."""
    call = reached.call
    data = call.get("datamodule")
    if data is None and (loaders := call.get("train_dataloaders")) is not None:
        validation = call.get("val_dataloaders")
        both = validation is not None or isinstance(loaders, tuple)
        data = (loaders, validation) if both else loaders
    return data


def trainer_arguments(trainer: Any, keep: frozenset[str], without: Sequence[str]) -> dict[str, Any]:
    """The script's Trainer arguments that matter for one run of many, its callbacks sorted into guards and others."""
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
    """A Trainer's own class, to be built of what reached Lightning's constructor, whatever the subclass made it of.

    What the subclass itself has set on its Trainer is set on the new one as well.
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
    """The arguments that the script gave its Trainer and that are plain values."""
    given = getattr(trainer, _ARGUMENTS, {})
    return {name: value for name, value in given.items() if isinstance(value, (bool, int, float, str))}


def left_out(trainer: Any, keep: Sequence[str], without: Sequence[str]) -> list[tuple[str, str]]:
    """The callbacks, and then other arguments, that a run goes without, with the reason."""
    usual = inspect.signature(type(trainer).__init__).parameters
    other = [
        (name, "not for a run that is one of many; `keep` has it kept")
        for name, value in getattr(trainer, _ARGUMENTS, {}).items()
        if name in _LEFT_OUT and name not in keep and value is not None
        if name not in usual or value is not usual[name].default
    ]
    return [*script_callbacks.sort(callbacks(trainer), without).left_out, *other]


def callbacks(trainer: Any) -> list[Any]:
    """The callbacks that the script gives its Trainer, those too that it adds to a Trainer that is there."""
    given = getattr(trainer, _ARGUMENTS, {}).get("callbacks") or []
    first = list(given) if isinstance(given, (list, tuple)) else [given]
    known = [*first, *getattr(trainer, _AT_FIRST, [])]
    return first + [callback for callback in trainer.callbacks if not any(callback is one for one in known)]
