"""In the victim: facts about a user's module: class, step, source, parameters, loader."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faultlab.core import packages
from faultlab.core.alert import safe_text
from faultlab.core.asking import asked
from faultlab.doctor import sources
from faultlab.frameworks.lightning import namespaces
from faultlab.frameworks.torch import layers

_PACKAGES = tuple(f"{package}." for package in ("torch", *packages.TOPS))
_NO_HOOKS = {
    "forward",
    "print",
    "log",
    "log_dict",
    "all_gather",
    "freeze",
    "unfreeze",
    "manual_backward",
    "toggle_optimizer",
    "untoggle_optimizer",
    "toggled_optimizer",
    "clip_gradients",
    "optimizers",
    "lr_schedulers",
}
_PREFIXES = (
    "on_",
    "configure_",
    "training_",
    "validation_",
    "test_",
    "predict_",
    "train_",
    "val_",
    "optimizer_",
    "lr_scheduler_",
    "transfer_",
    "prepare_",
    "setup",
    "teardown",
    "backward",
)


def module_of(trainer: Any) -> Any:
    """Return the module that a Trainer trains, without what strategies put around it."""
    return trainer.lightning_module


def hook_names(base: type) -> list[str]:
    """Return the methods of Lightning's module that a user may define for Lightning to call."""
    return [
        name
        for name in dir(base)
        if name.startswith(_PREFIXES) and name not in _NO_HOOKS and inspect.isfunction(getattr(base, name, None))
    ]


def class_facts(cls: type, base: type) -> dict[str, Any]:
    lineage = [one for one in cls.__mro__ if one is not object]
    own = lineage[: lineage.index(base)]
    return {
        "path": f"{cls.__module__}.{cls.__qualname__}",
        "name": cls.__name__,
        "place": _place(cls),
        "lineage": [{"name": one.__name__, "place": _place(one)} for one in own],
    }


def _place(thing: Any) -> str:
    try:
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return ""


def step_facts(module: Any, base: type) -> dict[str, Any]:
    """Return the kind of `training_step`, where it is defined, and what replaces it on the instance."""
    raw = inspect.getattr_static(type(module), "training_step", None)
    owner = next((one for one in type(module).__mro__ if "training_step" in vars(one)), None)
    function = getattr(raw, "__func__", raw)
    bare = inspect.unwrap(function) if callable(function) else function
    kind = (
        "missing"
        if raw is None or owner is None or owner is base
        else "property"
        if isinstance(raw, property)
        else "staticmethod"
        if isinstance(raw, staticmethod)
        else "classmethod"
        if isinstance(raw, classmethod)
        else "coroutine"
        if inspect.iscoroutinefunction(bare)
        else "generator"
        if inspect.isgeneratorfunction(bare) or inspect.isasyncgenfunction(bare)
        else "method"
        if callable(raw)
        else "attribute"
    )
    replaced = "training_step" in vars(module)
    return {
        "kind": kind,
        "owner": owner.__name__ if owner else "",
        "place": _place(bare) if callable(bare) else "",
        "replaced": _place(vars(module)["training_step"]) or "somewhere" if replaced else "",
    }


def source_facts(cls: type, base: type) -> dict[str, Any]:
    """Return the suspicious places in the source of the class and of its bases that are not Lightning's."""
    total: dict[str, Any] = {}
    for one in cls.__mro__[: cls.__mro__.index(base)]:
        try:
            file = inspect.getsourcefile(one) or ""
            with open(file, encoding="utf-8") as source:
                facts = sources.class_facts(source.read(), one.__name__, hook_names(base))
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        for key, entries in facts.items():
            for entry in entries:
                entry = {"line": entry} if isinstance(entry, int) else dict(entry)
                entry = {**entry, "class": one.__name__, "file": file}
                # A name that Lightning or a base class also has is not a typo.
                if not (key == "near" and any(hasattr(b, entry["name"]) for b in one.__mro__[1:])):
                    total.setdefault(key, []).append(entry)
    return total


def kind_of(output: Any) -> str:
    import torch

    if output is None:
        return "none"
    loss = output.get("loss") if isinstance(output, Mapping) else output
    if isinstance(loss, torch.Tensor):
        return "loss" if loss.requires_grad else "detached"
    return "no loss" if isinstance(output, Mapping) else type(output).__name__


def parameters(module: Any, before: Mapping[str, Any], trainer: Any) -> dict[str, Any]:
    import torch

    # Lightning adds an optimizer that does nothing if the user returns none.
    everyone = getattr(trainer, "optimizers", None) or ()
    optimizers = [one for one in everyone if type(one).__name__ != packages.NO_OPTIMIZER]
    given = [value for one in optimizers for group in one.param_groups for value in group["params"]]
    held = set(map(id, given))
    rates = [float(group.get("lr", 1.0)) for one in optimizers for group in one.param_groups]
    changed, still, frozen, left_out = [], [], [], []
    for name, value in module.named_parameters():
        old = before.get(name)
        if old is not None and old.shape == value.shape and torch.equal(old, value.detach().cpu().to(old)):
            still.append(name)
        else:
            changed.append(name)
        if not value.requires_grad:
            frozen.append(name)
        elif id(value) not in held:
            left_out.append(name)
    own = sorted(tuple(value.shape) for value in module.parameters())
    resting = {id(value) for part in layers.resting(module) for value in part.parameters()}
    return {
        "another": len(left_out) == len(own) == len(given) and sorted(tuple(one.shape) for one in given) == own,
        "changed": changed,
        "still": still,
        "frozen": frozen,
        "resting": [name for name, value in module.named_parameters() if id(value) in resting],
        "left_out": left_out,
        "optimizers": [type(one).__name__ for one in optimizers],
        "largest_rate": max(rates, default=None),
        "gone": len(held - {id(p) for p in module.parameters()}),
        "lost_epsilons": _lost_epsilons(optimizers),
    }


def _lost_epsilons(optimizers: list[Any]) -> list[dict[str, Any]]:
    """Return epsilons that are 0 in float16, of optimizers with float16 weights, here or in the user's script."""
    import torch

    asked_for = scripted()[0].get("precision") == "16-true"
    found = []
    for one in optimizers:
        for group in one.param_groups:
            half = asked_for or any(p.dtype == torch.float16 for p in group["params"])
            epsilon = group.get("eps")
            if half and isinstance(epsilon, float) and epsilon and not torch.tensor(epsilon).half():
                found.append({"optimizer": type(one).__name__, "eps": epsilon, "asked": asked_for})
    return found[:1]


def scripted() -> tuple[Mapping[str, Any], Sequence[Any]]:
    """Return the plain arguments and the callbacks that the script passed to its Trainer; empty without a script."""
    part = sys.modules.get("faultlab.targets.script")
    asked_for = part.asked_of_trainers() if part is not None else ()
    return asked_for[-1] if asked_for else ({}, ())


def own_files(
    module: Any, data: Sequence[Any], callbacks: Sequence[Any]
) -> tuple[dict[str, str], Callable[[str], bool]]:
    """Return the sources of a training's own classes by file, and whether a base class has a method of some name."""
    texts: dict[str, str] = {}
    names: set[str] = set()
    for thing in (module, *data, *callbacks, *scripted()[1]):
        for cls in type(thing).__mro__:
            file = ""
            with contextlib.suppress(OSError, TypeError, UnicodeDecodeError):
                file = inspect.getsourcefile(cls) or ""
                if not namespaces.is_lightnings(cls) and not {"site-packages", "dist-packages"} & set(Path(file).parts):
                    if file not in texts and "/lib/python" not in file and not cls.__module__.startswith("faultlab."):
                        texts[file] = Path(file).read_text(encoding="utf-8")
                    continue
            names |= set(vars(cls))
    return texts, names.__contains__


def training_layers(module: Any) -> list[str]:
    """Return the layers in training mode whose outputs depend on it: dropout, and norms that keep statistics."""
    from torch import nn

    kinds = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
    return [name or "it" for name, layer in module.named_modules() if layer.training and isinstance(layer, kinds)]


def resting_layers(module: Any) -> list[str]:
    """Return the same kinds of layers in evaluation mode, in parts with trained weights, unless a ``train`` method
    keeps them."""
    from torch import nn

    kinds = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
    kept = any(
        "train" in vars(cls)
        for layer in module.modules()
        for cls in type(layer).__mro__
        if not cls.__module__.startswith(_PACKAGES)
    )
    return (
        []
        if kept
        else [
            f"{top}.{name}" if name else top
            for top, part in module.named_children()
            if part.training is False and any(weight.requires_grad for weight in part.parameters())
            for name, layer in part.named_modules()
            if not layer.training and isinstance(layer, kinds)
        ]
    )


def loader(trainer: Any) -> dict[str, Any]:
    """Return the number of batches of the training loader, and the settings that may leave it empty."""
    try:
        loader, validation = trainer.train_dataloader, trainer.val_dataloaders
    except Exception as error:  # a user's loader, or none at all
        return {"error": safe_text(error)}
    if loader is None:
        return {}
    found: dict[str, Any] = {"type": type(loader).__name__}
    dataset = asked(loader, "dataset")
    for name, thing in (("batches", loader), ("samples", dataset), ("drawn", asked(loader, "sampler"))):
        try:
            found[name] = len(thing)
        except Exception:  # no length, or one that raises
            found[name] = None
    found["batch_size"] = plain(asked(loader, "batch_size"))
    found["drop_last"] = bool(asked(loader, "drop_last", False))
    found["sampler"] = type(asked(loader, "sampler")).__name__
    others = validation if isinstance(validation, (list, tuple)) else [validation]
    found["validates_on_it"] = dataset is not None and any(asked(one, "dataset") is dataset for one in others)
    return found


def namespace_of(cls: type, base: str) -> str:
    for name in namespaces.loaded():
        if issubclass(cls, getattr(sys.modules[name], base)):
            return name
    return ""


def plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else safe_text(value, 100)
