"""What the guards of the data see of a batch: flattened once, however many of them look at it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

SAMPLED = 65_536
"""A tensor of more values than this is looked at through a sample of them."""
FEATURES = 256
"""As many features of a sample are told apart at most."""

_DEPTH = 6
_OPAQUE = ("numpy", "pandas", "polars", "torch", "builtins", "datetime", "pathlib", "PIL")
_LABELS = ("y", "class", "classes", "ys")
_LABEL_STEMS = ("label", "target", "lbl", "tgt")


class Look:
    """One batch: its tensors by path, and what several guards ask of them, each worked out once.

    ``inputs`` and ``labels`` are guesses by name and form, and None where the batch gives no ground for one.
    """

    def __init__(self, batch: Any) -> None:
        self.batch = batch
        self.parts: list[tuple[str, Any]] = []
        try:
            self.parts = list(_walk(batch, "", _DEPTH))
        except Exception:  # a batch of somebody's own whose attributes raise is no business of a guard
            self.parts = []
        self.tensors = {path: _plain(part) for path, part in self.parts if isinstance(part, Tensor)}
        self.usual = {path: tensor for path, tensor in self.tensors.items() if is_usual(tensor)}
        self._statistics: dict[str, tuple[float, float, float, float]] = {}

    @cached_property
    def samples(self) -> int | None:
        """The number of samples: the length that all tensors but single numbers share, or None."""
        lengths = {len(tensor) for tensor in self.usual.values() if tensor.ndim}
        return lengths.pop() if len(lengths) == 1 else None

    @cached_property
    def label_path(self) -> str | None:
        """Where the labels are: a part that is called so, or the second of two."""
        named = [path for path in self.tensors if _is_label(path)]
        if named:
            return named[0] if len(named) == 1 else None
        return "1" if list(self.tensors) == ["0", "1"] and len(self.parts) == 2 else None

    @cached_property
    def input_path(self) -> str | None:
        """Where the inputs are: the largest of the other parts, of floats if there is one."""
        others = [path for path in self.tensors if not _is_label(path) and path != self.label_path]
        floats = [path for path in others if self.tensors[path].is_floating_point()]
        return max(floats or others, key=lambda path: self.tensors[path].numel(), default=None)

    @property
    def inputs(self) -> Tensor | None:
        """The inputs, one row a sample."""
        return self._rowwise(self.input_path)

    @property
    def labels(self) -> Tensor | None:
        """The labels, one row a sample."""
        return self._rowwise(self.label_path)

    def _rowwise(self, path: str | None) -> Tensor | None:
        tensor = self.usual.get(path) if path is not None else None
        return tensor if tensor is not None and tensor.ndim and len(tensor) else None

    def statistics(self, path: str) -> tuple[float, float, float, float]:
        """Lowest, highest, mean and standard deviation of a tensor's values; NaN where any of them is."""
        if path not in self._statistics:
            values = sampled(self.usual[path])
            if not values.is_floating_point():
                low, high = torch.aminmax(values.byte() if values.dtype == torch.bool else values)
                self._statistics[path] = (float(low), float(high), 0.0, 0.0)
            else:
                values = values.float() if values.element_size() < 4 else values
                spread, mean = torch.std_mean(values, correction=0)
                self._statistics[path] = (*read(*torch.aminmax(values)), *read(mean, spread))  # type: ignore[assignment]
        return self._statistics[path]

    @cached_property
    def features(self) -> Tensor | None:
        """The inputs as one row of at most `FEATURES` numbers a sample."""
        return None if self.inputs is None else rows_of(self.inputs)

    @cached_property
    def input_keys(self) -> list[float]:
        """A number for each sample's inputs: the same for the same, and in practice another for others."""
        return [] if self.features is None else keys(self.features)

    @cached_property
    def label_keys(self) -> list[float]:
        """A number for each sample's labels."""
        return [] if self.labels is None else keys(rows_of(self.labels))


_last: Look | None = None


def look(batch: Any) -> Look:
    """The look at a batch, made once as long as the batch is the one that is looked at."""
    global _last
    if _last is None or _last.batch is not batch:
        _last = Look(batch)
    return _last


def forget() -> None:
    """Lets go of the batch that was looked at last, so that its memory is free when the next one comes."""
    global _last
    _last = None


def is_usual(tensor: Tensor) -> bool:
    """Whether a tensor's values can be looked at at all."""
    return (
        tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and not (tensor.is_nested or tensor.is_complex() or tensor.is_quantized)
    )


def sampled(tensor: Tensor, limit: int = SAMPLED) -> Tensor:
    """The values of a tensor, or as many as ``limit`` of them at equal distances."""
    count = tensor.numel()
    return tensor if count <= limit else tensor.reshape(-1)[:: -(-count // limit)]


def rows_of(tensor: Tensor, width: int = FEATURES) -> Tensor:
    """A row of at most ``width`` values a sample, at equal distances."""
    flat = tensor.reshape(len(tensor), -1)
    return flat if flat.shape[1] <= width else flat[:, :: -(-flat.shape[1] // width)]


_weights: dict[int, Tensor] = {}


def keys(rows: Tensor) -> list[float]:
    """A number for each row, which does not depend on where in the batch it stands."""
    width = rows.shape[1]
    if width == 1:
        values: list[float] = rows[:, 0].tolist()
        return values
    if width not in _weights:
        _weights[width] = (torch.arange(1, width + 1, dtype=torch.float64) * 0.6180339887498949).frac() + 0.1
    weights = _weights[width].to(rows.device) if rows.device.type != "cpu" else _weights[width]
    # In double precision, and cut to single afterwards: how a product is summed up depends on the size of the batch.
    found: list[float] = (rows.double() @ weights).float().tolist()
    return found


def read(*values: Tensor) -> list[float]:
    """Single numbers off a device, in one go where it takes waiting for it."""
    if values[0].device.type == "cpu":
        return [float(value) for value in values]
    found: list[float] = torch.stack([value.float() for value in values]).tolist()
    return found


def is_due(tensor: Tensor | None, batch_idx: int) -> bool:
    """Whether to look at values: every time on the CPU, now and then where reading them makes the CPU wait."""
    return tensor is None or tensor.device.type == "cpu" or batch_idx < 20 or batch_idx % 10 == 0


def of_fit(trainer: Any) -> bool:
    """Whether a validation batch belongs to a training and not to a call of validate."""
    function = getattr(getattr(trainer, "state", None), "fn", None)
    return function is None or str(getattr(function, "value", function)) == "fit"


def _is_label(path: str) -> bool:
    name = path.rpartition(".")[2].lower()
    return name in _LABELS or name.startswith(_LABEL_STEMS)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach() if type(tensor) is Tensor else tensor.detach().as_subclass(Tensor)


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    children = None if isinstance(value, Tensor) or not depth else _children(value)
    if children is None:
        yield path, value
        return
    for name, child in children:
        inner = f"{path}.{name}" if path else str(name)
        if isinstance(child, Tensor):
            yield inner, child
        else:
            yield from _walk(child, inner, depth - 1)


def _children(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """The named parts of a node, or None for a leaf."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, (list, tuple)):
        return zip(getattr(value, "_fields", None) or map(str, range(len(value))), value)
    if isinstance(value, type) or type(value).__module__.partition(".")[0] in _OPAQUE:
        return None
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]
    if hasattr(value, "named_parameters"):
        return None
    # What can be moved to a device and has attributes is a batch of somebody's own; anything else is a leaf.
    return list(vars(value).items()) if hasattr(value, "to") and hasattr(value, "__dict__") else None
