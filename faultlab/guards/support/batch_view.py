"""The view that the data guards share of a batch, computed once for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from faultlab.guards.support import pace

SAMPLED = 65_536
"""The number of values above which a tensor is sampled."""
FEATURES = 256
"""The maximum number of features of a sample that are compared."""

_DEPTH = 6
_OPAQUE = ("numpy", "pandas", "polars", "torch", "builtins", "datetime", "pathlib", "PIL")
_LABELS = ("y", "class", "classes", "ys")
_LABEL_STEMS = ("label", "target", "lbl", "tgt")


class Look:
    """One batch: its tensors by path, and what several guards derive from them, each computed once.

    ``inputs`` and ``labels`` are guesses by name and shape, None if the batch gives no clue.
    """

    def __init__(self, batch: Any) -> None:
        self.batch = batch
        self.parts = list(_walk(batch, "", _DEPTH))
        self.tensors = {path: _plain(part) for path, part in self.parts if isinstance(part, Tensor)}
        self.form = form = tuple(
            (path, tensor.dtype, tensor.shape, tensor.device) for path, tensor in self.tensors.items()
        )
        if (roles := _roles.get(form)) is None or any(
            tensor.layout is not torch.strided for tensor in self.tensors.values()
        ):
            roles = self._find_roles()
            if len(_roles) > 64:
                _roles.clear()
            _roles[form] = roles
        usual, self.samples, self.label_path, self.input_path = roles
        self.usual = {path: self.tensors[path] for path in usual}
        self._bounds: dict[str, tuple[float, float]] = {}

    def _find_roles(self) -> tuple[tuple[str, ...], int | None, str | None, str | None]:
        """Return the paths of readable tensors, the batch size that all share, the path of labels and that of inputs.

        Labels are the part with a name for labels, or the second of two. Inputs are the largest other part, of floats
        if possible.
        """
        usual = tuple(path for path, tensor in self.tensors.items() if is_usual(tensor))
        lengths = {len(self.tensors[path]) for path in outermost(usual) or usual if self.tensors[path].ndim}
        named = [path for path in self.tensors if _is_label(path)]
        label = named[0] if len(named) == 1 else None
        if not named and list(self.tensors) == ["0", "1"] and len(self.parts) == 2:
            label = "1"
        others = [path for path in self.tensors if path not in named and path != label]
        floats = [path for path in others if self.tensors[path].is_floating_point()]
        inputs = max(floats or others, key=lambda path: self.tensors[path].numel(), default=None)
        return usual, lengths.pop() if len(lengths) == 1 else None, label, inputs

    @property
    def inputs(self) -> Tensor | None:
        """The inputs, one row for each sample."""
        return self._rowwise(self.input_path)

    @property
    def labels(self) -> Tensor | None:
        """The labels, one row for each sample."""
        return self._rowwise(self.label_path)

    @property
    def called_labels(self) -> list[Tensor]:
        """All parts with a word for labels in their names, such as "future_target"."""
        words = {path: path.rpartition(".")[2].lower().split("_") for path in self.tensors}
        return [tensor for path, tensor in self.tensors.items() if any(map(_is_label, words[path]))]

    def _rowwise(self, path: str | None) -> Tensor | None:
        tensor = self.usual.get(path) if path is not None else None
        return tensor if tensor is not None and tensor.ndim and len(tensor) else None

    def bounds(self, path: str) -> tuple[float, float]:
        """Return the lowest and the highest value of a tensor, NaN if it contains NaN."""
        if path not in self._bounds:
            values = sampled(self.usual[path])
            low, high = torch.aminmax(values.byte() if values.dtype == torch.bool else values)
            self._bounds[path] = (float(low), float(high)) if values.device.type == "cpu" else read(low, high)
        return self._bounds[path]

    @cached_property
    def features(self) -> Tensor | None:
        """The inputs as one row of at most `FEATURES` numbers for each sample."""
        return None if self.inputs is None else rows_of(self.inputs)

    @cached_property
    def input_keys(self) -> list[float]:
        """A number for each sample's inputs: equal for equal inputs, and in practice different for others."""
        return [] if self.features is None else keys(self.features)

    @cached_property
    def label_keys(self) -> list[float]:
        """A number for each sample's labels, as in `input_keys`."""
        return [] if self.labels is None else keys(rows_of(self.labels))


_last: Look | None = None
# By the form of a batch, which seldom changes. Finding the roles costs more than looking them up.
_roles: dict[Any, tuple[tuple[str, ...], int | None, str | None, str | None]] = {}


def look(batch: Any) -> Look:
    """Return the look at a batch, the same one as long as no other batch is looked at."""
    global _last
    if _last is None or _last.batch is not batch:
        _last = Look(batch)
    return _last


def forget() -> None:
    """Release the batch that was looked at last, so that its memory is free when the next one is loaded."""
    global _last
    _last = None


def outermost(paths: Iterable[str]) -> list[str]:
    """Return the paths that are not in a list within the batch, since such a list may have a part for each sample."""
    return [path for path in paths if not any(name.isdigit() for name in path.split(".")[1:])]


def is_usual(tensor: Tensor) -> bool:
    """Return whether a tensor's values can be read."""
    return bool(
        tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and not (tensor.is_nested or tensor.is_complex() or tensor.is_quantized)
    )


def sampled(tensor: Tensor, limit: int = SAMPLED) -> Tensor:
    """Return the values of a tensor, or at most ``limit`` of them at equal distances."""
    count = tensor.numel()
    return tensor if count <= limit else tensor.reshape(-1)[:: -(-count // limit)]


def rows_of(tensor: Tensor, width: int = FEATURES) -> Tensor:
    """Return a row of at most ``width`` values for each sample, at equal distances."""
    flat = tensor.reshape(len(tensor), -1)
    return flat if flat.shape[1] <= width else flat[:, :: -(-flat.shape[1] // width)]


_weights: dict[int, Tensor] = {}


def keys(rows: Tensor) -> list[float]:
    """Return a number for each row, which does not depend on the row's place in the batch."""
    width = rows.shape[1]
    if width == 1:
        values: list[float] = rows.reshape(-1).tolist()
        return values
    if width not in _weights:
        # Scattered weights, since rows of few values would have equal sums under regular ones.
        _weights[width] = (torch.arange(1, width + 1, dtype=torch.float64) * 12.9898).sin() * 43758.5453 % 1 + 0.1
    weights = _weights[width].to(rows.device) if rows.device.type != "cpu" else _weights[width]
    # In double precision and rounded to single afterwards, since the order of summation depends on the batch size.
    found: list[float] = (rows.double() @ weights).float().tolist()
    return found


@pace.sparse
def forgetting(guard: Any, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
    """Release the batch at its end: the hook of guards that do nothing else there. A set calls only one such hook."""
    forget()


def read(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Read two scalars from a device with a single synchronization."""
    first, second = torch.stack([one, other]).tolist()
    return float(first), float(second)


def _is_label(path: str) -> bool:
    name = path.rpartition(".")[2].lower()
    return name in _LABELS or name.startswith(_LABEL_STEMS)


def _plain(tensor: Tensor) -> Tensor:
    if type(tensor) is Tensor and not tensor.requires_grad:
        return tensor
    return tensor.detach().as_subclass(Tensor)


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    try:
        children = None if isinstance(value, Tensor) or not depth else _children(value)
        children = None if children is None else list(children)
    except Exception:  # a user's class may raise if asked for its parts; it then counts as one part
        children = None
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
    """Return the named parts of a node, None for a leaf."""
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
    # An object with attributes and a `to` method is a user's batch class; anything else is a leaf.
    return list(vars(value).items()) if hasattr(value, "to") and hasattr(value, "__dict__") else None
