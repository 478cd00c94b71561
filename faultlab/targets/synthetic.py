"""Synthetic data of given shapes that can be learned, for a module whose own data is not available.

Every sample has a hidden kind and a few hidden numbers. Inputs show them under noise and labels are computed from them,
so that a healthy training makes progress and a broken one does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

KINDS = ("input", "tokens", "classes", "target", "flags", "mask")
_NUMBERS = 4
_NOISE = 0.3


def data(
    batch: Any, batch_size: int = 16, samples: int = 256, validation: int = 64, seed: int = 0
) -> DataLoader[Any] | tuple[DataLoader[Any], DataLoader[Any]]:
    """Return a training loader, or a training and a validation loader if ``validation`` is not 0.

    Args:
        batch: A list (a tuple in the batch), a mapping of names (a dict) or one of these tensors, without the batch
            dimension: ``{input: [1, 28, 28]}`` floats, ``{tokens: [16], of: 1000}`` integers below 1000, ``{classes:
            10}`` a class for each sample (``shape: [16]`` for each position), ``{target: [1]}`` floats to predict,
            ``{flags: [5]}`` floats 0 and 1, ``{mask: [16]}`` ones.
        batch_size: Samples per batch.
        samples: Number of training samples.
        validation: Number of validation samples.
        seed: Seed of the data.

    Raises:
        ValueError: ``batch`` is anything else.
    """
    made = _Samples(batch, samples + validation, seed)
    parts = [torch.utils.data.Subset(made, range(samples)), torch.utils.data.Subset(made, range(samples, len(made)))]
    training = DataLoader(parts[0], batch_size=batch_size, shuffle=True, drop_last=True)
    return (training, DataLoader(parts[1], batch_size=batch_size)) if validation else training


def without(module: Any, hooks: Sequence[str]) -> Any:
    """Return the module with some of its own hooks, such as ``prepare_data``, disabled: its data is synthetic."""
    for hook in hooks:
        setattr(module, hook, _nothing)
    return module


def _nothing(*args: Any, **kwargs: Any) -> None: ...


class _Samples(Dataset[Any]):
    def __init__(self, batch: Any, count: int, seed: int) -> None:
        self._count = count
        self._random = torch.Generator().manual_seed(seed)
        leaves = list(_leaves(batch))
        sizes = [leaf["classes"] for leaf in leaves if "classes" in leaf and not leaf.get("shape")]
        self._kinds = sizes[0] if sizes else 8
        self._kind = torch.randint(self._kinds, (count,), generator=self._random)
        self._numbers = torch.randn(count, _NUMBERS, generator=self._random)
        self._inputs: list[Tensor] = []
        made = {id(leaf): self._make(leaf) for leaf in sorted(leaves, key=lambda leaf: _kind_of(leaf) not in _GIVEN)}
        self._whole = _filled(batch, made)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        return _mapped(self._whole, lambda tensor: tensor[index])

    def _make(self, leaf: Mapping[str, Any]) -> Tensor:
        kind = _kind_of(leaf)
        shape = tuple(leaf.get("shape", ()) if kind == "classes" else leaf[kind])
        if kind == "mask":
            return torch.ones(self._count, *shape, dtype=torch.long)
        if kind == "input":
            self._inputs.append(self._shown(shape) + _NOISE * torch.randn(self._count, *shape, generator=self._random))
            return self._inputs[-1]
        if kind == "tokens":
            self._inputs.append(self._words(shape, int(leaf["of"])))
            return self._inputs[-1]
        if kind == "classes":
            return self._classes(shape, int(leaf["classes"]))
        same = next((seen for seen in self._inputs if seen.shape[1:] == shape and seen.is_floating_point()), None)
        if kind == "target":
            return same if same is not None else self._computed(shape)
        return (self._computed(shape) > 0).float()

    def _shown(self, shape: tuple[int, ...]) -> Tensor:
        """Return inputs that show the sample's kind and numbers: smooth patterns that also differ by their mean."""
        count = self._kinds + _NUMBERS
        coarse = torch.randn(count, *(min(size, 4) for size in shape), generator=self._random)
        patterns = _resized(coarse, shape)
        brightness = torch.linspace(-1, 1, self._kinds).view(-1, *([1] * len(shape)))
        shown: Tensor = (patterns[: self._kinds] + brightness)[self._kind]
        shown += 0.5 * torch.tensordot(self._numbers, patterns[self._kinds :], 1)
        return shown

    def _words(self, shape: tuple[int, ...], vocabulary: int) -> Tensor:
        """Return tokens that mostly follow from the sample's kind."""
        words = torch.randint(vocabulary, (self._count, *shape), generator=self._random)
        usual = torch.randint(vocabulary, (self._kinds, *shape), generator=self._random)
        likely = torch.rand(self._count, *shape, generator=self._random) < 0.7
        return torch.where(likely, usual[self._kind], words)

    def _classes(self, shape: tuple[int, ...], count: int) -> Tensor:
        if not shape:
            return self._kind % count
        for seen in self._inputs:
            if tuple(seen.shape[1:]) == shape and not seen.is_floating_point():
                return (seen + 1) % count
            if seen.dim() > len(shape) and tuple(seen.shape[-len(shape) :]) == shape:
                value = seen.flatten(1, seen.dim() - len(shape) - 1).mean(1) if seen.dim() > len(shape) + 1 else seen
                return (torch.sigmoid(value) * count).long().clamp(0, count - 1)
        return self._kind.view(-1, *([1] * len(shape))).expand(-1, *shape) % count

    def _computed(self, shape: tuple[int, ...]) -> Tensor:
        weights = torch.randn(_NUMBERS, *shape, generator=self._random)
        offsets = torch.randn(self._kinds, *shape, generator=self._random)
        computed: Tensor = 0.5 * torch.tensordot(self._numbers, weights, 1) + offsets[self._kind]
        return computed


_GIVEN = ("input", "tokens", "mask")


def _kind_of(leaf: Mapping[str, Any]) -> str:
    return next(kind for kind in KINDS if kind in leaf)


def is_leaf(part: Any) -> bool:
    """Return whether a part of a description is one tensor."""
    return isinstance(part, Mapping) and any(kind in part and not isinstance(part[kind], Mapping) for kind in KINDS)


def _leaves(batch: Any) -> Sequence[Mapping[str, Any]]:
    if is_leaf(batch):
        return [batch]
    if isinstance(batch, Mapping):
        return [leaf for part in batch.values() for leaf in _leaves(part)]
    if isinstance(batch, (list, tuple)):
        return [leaf for part in batch for leaf in _leaves(part)]
    raise ValueError(f"synthetic data: invalid tensor {batch!r}: expected one of {', '.join(KINDS)}")


def _filled(batch: Any, made: Mapping[int, Tensor]) -> Any:
    if is_leaf(batch):
        return made[id(batch)]
    if isinstance(batch, Mapping):
        return {name: _filled(part, made) for name, part in batch.items()}
    return tuple(_filled(part, made) for part in batch)


def _mapped(whole: Any, act: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(whole, Tensor):
        return act(whole)
    if isinstance(whole, Mapping):
        return {name: _mapped(part, act) for name, part in whole.items()}
    return tuple(_mapped(part, act) for part in whole)


def _resized(coarse: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the values stretched to a shape by repetition: smooth if the shape is large."""
    for axis, size in enumerate(shape, start=1):
        index = torch.arange(size) * coarse.shape[axis] // size
        coarse = coarse.index_select(axis, index)
    return coarse
