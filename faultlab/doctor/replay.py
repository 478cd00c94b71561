"""In the victim: the same batches through both steps of a module's copy, and what the logged values depend on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from faultlab.guards.support import trainer_state
from faultlab.guards.support.draws import undrawn
from faultlab.guards.support.trainer_view import view_of
from faultlab.guards.support.trials import Trial

_BATCHES, _MOST_TENSORS, _ALIKE, _APART, _LEAST = 3, 8, 1e-4, 1e-2, 16

Values = dict[str, float]


def facts(trainer: Any, module: Any) -> dict[str, Any]:
    """Return what a copy shows on the first validation batches; empty without validation.

    ``factors`` has, by the name of a logged loss, how many times as large the training loss of the same batch is, if
    that is the same for all batches, and ``sizes`` the sizes of the batch's dimensions. ``depends`` has, by the name of
    a logged value, the paths of the batch's tensors that it changes with. ``inputs`` has the mean and spread of the
    first tensor.
    """
    batches = _batches(trainer)
    if not batches or not module.automatic_optimization:
        return {}
    trial = Trial(module, view_of(trainer))
    logged: Values = {}
    _listen(trial.module, logged)
    steps: list[tuple[Values, float | None]] = []
    with trial.running(evaluates=True):
        for number, batch in enumerate(batches):
            values = _validated(trial, batch, number, logged)
            steps.append((values, _trained(trial, batch, number)))
        depends = _dependence(trial, batches[0], logged)
    sizes = sorted({size for tensor in trainer_state.tensors(batches[0]) for size in tensor.shape if size > 1})
    return {"factors": _factors(steps), "sizes": sizes, "depends": depends, "inputs": _scale(batches[0])}


def idle_parts(trainer: Any, module: Any, batch: Any) -> list[str]:
    """Return the float tensors of a training batch that the training loss does not depend on.

    Only those that are shaped as another one that it depends on are listed: others may be meant for something else.
    """
    if not module.automatic_optimization:
        return []
    paths = {path: _part(batch, path) for path in _paths(batch)}
    if not 2 <= len(paths) <= _MOST_TENSORS:
        return []
    trial = Trial(module, view_of(trainer))
    with trial.running(evaluates=True):
        before = _trained(trial, batch, 0)
        changed = {path: _trained(trial, _rolled(batch, path), 0) for path in paths}
    if before is None or not math.isfinite(before):
        return []
    used = {path for path, value in changed.items() if value is None or not math.isclose(value, before, rel_tol=1e-6)}
    forms = {paths[path].shape for path in used if paths[path].is_floating_point()}
    return [
        "".join(f"[{key!r}]" for key in path)
        for path, part in paths.items()
        if path not in used and part.is_floating_point() and part.shape in forms
    ]


def _part(batch: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        batch = batch[key]
    return batch


def _batches(trainer: Any) -> list[Any]:
    loaders = trainer.val_dataloaders
    loader = loaders[0] if isinstance(loaders, (list, tuple)) and loaders else loaders
    if loader is None or isinstance(loader, (Mapping, list, tuple)):
        return []
    with undrawn():
        return list(islice(iter(loader), _BATCHES))


def _scale(batch: Any) -> dict[str, float]:
    tensor = next(iter(trainer_state.tensors(batch)), None)
    if tensor is None or not tensor.is_floating_point() or tensor.numel() < _LEAST:
        return {}
    return {"mean": float(tensor.mean()), "spread": float(tensor.std())}


def _listen(module: Any, logged: Values) -> None:
    def log(name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        if (number := trainer_state.number(value)) is not None and math.isfinite(number):
            logged[str(name)] = number

    def log_dict(values: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        for name, value in values.items():
            log(name, value)

    object.__setattr__(module, "log", log)
    object.__setattr__(module, "log_dict", log_dict)


def _validated(trial: Trial, batch: Any, number: int, logged: Values) -> Values:
    logged.clear()
    with undrawn():
        output = trial.step(batch, number, "validation_step")
    if (loss := _loss(output)) is not None:
        logged.setdefault("the validation loss", loss)
    return dict(logged)


def _trained(trial: Trial, batch: Any, number: int) -> float | None:
    with undrawn():
        return _loss(trial.step(batch, number))


def _loss(output: Any) -> float | None:
    return trainer_state.number(output.get("loss") if isinstance(output, Mapping) else output)


def _factors(steps: list[tuple[Values, float | None]]) -> Values:
    found = {}
    for name in steps[0][0]:
        pairs = [(trained, values.get(name)) for values, trained in steps]
        ratios = [one / other for one, other in pairs if one and other]
        if "loss" not in name.lower() or len(ratios) < max(2, len(steps)):
            continue
        first = ratios[0]
        if all(math.isclose(first, one, rel_tol=_ALIKE) for one in ratios) and abs(first - 1) > _APART:
            found[name] = first
    return found


def _dependence(trial: Trial, batch: Any, logged: Values) -> dict[str, list[str]]:
    """Return what each value changes with: one tensor at a time is rolled against the others."""
    paths = list(_paths(batch))
    if not 2 <= len(paths) <= _MOST_TENSORS:
        return {}
    before = _validated(trial, batch, 0, logged)
    found: dict[str, list[str]] = {name: [] for name in before}
    for path in paths:
        after = _validated(trial, _rolled(batch, path), 0, logged)
        for name, value in before.items():
            if not math.isclose(value, after.get(name, value), rel_tol=1e-6, abs_tol=1e-9):
                found[name].append("".join(f"[{key!r}]" for key in path))
    return found


def _paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    import torch

    if isinstance(value, torch.Tensor):
        if value.dim() and len(value) > 1:
            yield above
    elif type(value) is dict:
        for key, part in value.items():
            yield from _paths(part, (*above, key))
    elif type(value) in (list, tuple):
        for key, part in enumerate(value):
            yield from _paths(part, (*above, key))


def _rolled(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return value.roll(1, 0)
    if type(value) is dict:
        return {key: _rolled(part, path[1:]) if key == path[0] else part for key, part in value.items()}
    return type(value)(_rolled(part, path[1:]) if key == path[0] else part for key, part in enumerate(value))
