"""Plain facts about tensors, loaders, callbacks and constructors, for the target profile."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import IterableDataset

from faultlab.core.asking import asked, has
from faultlab.core.class_paths import found_class, path_of
from faultlab.core.first_step import FirstStep
from faultlab.core.part_facts import Leaf, LoaderFacts
from faultlab.frameworks.torch import layers
from faultlab.frameworks.torch.batch_roles import DataFlow
from faultlab.frameworks.torch.loaders import is_sized, read, sampler_of, samples_as_torch_does
from faultlab.injection import tokens as text
from faultlab.injection import tree


def finite(number: float) -> int | None:
    return int(number) if math.isfinite(number) else None


def uneven(updated_at: Sequence[int], steps: int) -> tuple[int, ...]:
    """Return the training steps of the optimizer steps; empty if there is one in each training step."""
    return () if list(updated_at) == list(range(steps)) else tuple(updated_at)


def holds_arrays(loader: Any) -> bool:
    # One item more than the run has fetched; it may be anything that a collate_fn can batch.
    with contextlib.suppress(Exception):
        dataset = loader.dataset
        stream = isinstance(dataset, IterableDataset)
        item = next(iter(dataset)) if stream else dataset[next(iter(sampler_of(loader)))]
        return any(asked(leaf, "ndim", 0) > 0 for _, leaf in tree.leaves(item))
    return False


def gives_whole_batches(loader: Any) -> bool:
    """Return True if the dataset returns several items at once as something other than a list."""
    with contextlib.suppress(Exception):
        several = asked(loader.dataset, "__getitems__")
        if several and asked(loader, "batch_sampler") is not None:
            return not isinstance(several([next(iter(sampler_of(loader)))]), (list, tuple))
    return False


def loading(loaders: list[Any], fetched_by_torch: Container[Any], batches: int | None = None) -> LoaderFacts | None:
    """Return the facts of the first loader; None without loaders."""
    if not loaders:
        return None
    loader, settings = loaders[0], read(loaders[0])
    # A loader with its own iteration, such as one that combines several, may ignore these settings.
    plain = loader in fetched_by_torch and samples_as_torch_does(loader)
    return LoaderFacts(
        samples=len(settings.dataset) if is_sized(settings.dataset) else None,
        batches=batches,
        length=settings.length,
        batch_size=settings.batch_size,
        shuffled=settings.shuffled,
        drop_last=settings.drop_last,
        workers=settings.num_workers,
        own_sampling=not plain,
        arrays=holds_arrays(loader),
        whole_batches=gives_whole_batches(loader),
    )


def shared(training: list[Any], validation: list[Any]) -> bool:
    return any(one.dataset is other.dataset for one in training for other in validation)


def first_step(module: Any, flow: DataFlow, resting: int, terms: int = 0) -> FirstStep:
    """Return the facts of the first training step, with those that its data flow has noted."""
    calls = flow.step_calls
    return FirstStep(
        loss_terms=max(terms, flow.loss_terms),
        stops=tuple(sorted(flow.stops)),
        causal=calls.causal,
        class_weights=calls.weighted,
        tied_tensors=len(layers.tied(module)),
        resting_parts=resting,
        adapters=len(layers.adapters(module)),
    )


def takes(module: Any) -> tuple[str, ...] | None:
    """Return the names of the constructor's arguments; None for a class that can't be found by its name."""
    cls = type(module)
    return tuple(inspect.signature(cls).parameters) if found_class(path_of(cls)) is cls else None


def arguments(module: Any) -> dict[str, Any]:
    """Return the constructor's arguments that are plain values and that the module has kept."""
    if takes(module) is None:
        return {}
    parameters = inspect.signature(type(module)).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    kept = {name: value for name, value in dict(module.hparams).items() if name in parameters}
    return {k: v for k, v in {**defaults, **kept}.items() if isinstance(v, (bool, int, float, str))}


def rate(group: Mapping[str, Any]) -> float:
    """Return the size of a parameter group's initial learning rate, as far as it is still known."""
    rates = [group.get(name) for name in ("lr", "initial_lr", "max_lr")]
    return max((abs(float(rate)) for rate in rates if rate is not None), default=0.0)


def monitors(callbacks: list[tuple[str, Any]]) -> dict[str, str]:
    return {name: str(callback.monitor) for name, callback in callbacks if _monitored(callback)}


def _monitored(callback: Any) -> bool:
    return isinstance(asked(callback, "monitor"), str) and has(callback, "mode")


def frozen(parameter: torch.Tensor) -> bool:
    return not parameter.requires_grad and layers.writable(parameter)


def leaf(tensor: torch.Tensor) -> Leaf:
    numbers = tensor.detach().double() if _countable(tensor) else None
    return Leaf(
        kind="floating" if tensor.is_floating_point() or tensor.is_complex() else "integer",
        dtype=str(tensor.dtype).removeprefix("torch."),
        shape=tuple(tensor.shape),
        low=None if numbers is None else float(numbers.min()),
        high=None if numbers is None else float(numbers.max()),
        binary=numbers is not None and tensor.is_floating_point() and _is_binary(numbers),
    )


def _is_binary(numbers: torch.Tensor) -> bool:
    ones = numbers == 1
    return bool(((numbers == 0) | ones).all() and ones.any() and not ones.all())


def leaves(tensors: Mapping[str, torch.Tensor]) -> dict[str, Leaf]:
    """Return the facts of the tensors of a batch, by path."""
    found: dict[str, Leaf] = {}
    for path, tensor in tensors.items():
        earlier = (other for other in found if tree.identical(tensors[other], tensor))
        found[path] = replace(leaf(tensor), repeats=next(earlier, ""))
    return found


def _countable(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and tensor.numel() > 0 and not tensor.is_complex()


def keeps_lists(batch: Any, paths: tuple[str, ...]) -> bool:
    """Return True if a list of samples remains a list in place of each of these tensors."""
    found = [(path, tensor) for path, tensor in tree.tensors(batch) if path in paths and tensor.ndim]
    return all(isinstance(dict(tree.nodes(_listed(batch, *one))).get(one[0]), list) for one in found)


def _listed(batch: Any, path: str, tensor: torch.Tensor) -> Any:
    return tree.replace(batch, {path: list(tensor.unbind())})


def kind(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, torch.Tensor):
        return "tensor"
    if isinstance(value, Mapping):
        return "dict"
    return "tuple" if isinstance(value, (tuple, list)) else "object"


def tokens(batch: Any, inputs: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a batch of text has of `TargetProfile.tokens`."""
    if batch is None:
        return ()
    known = text.found(batch, inputs, labels)
    padded = known or text.tagged(batch, inputs, labels)
    found = {
        "labels": known is not None,
        "prompt": known is not None and bool(known.prompt.any()),
        "padding": padded is not None and bool(padded.padding.any()),
        "mask": bool(text.masks(batch, inputs)),
        "packed": bool(text.boundaries(batch, inputs)),
    }
    return tuple(name for name, present in found.items() if present)
