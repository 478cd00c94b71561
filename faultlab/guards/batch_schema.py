"""The guard that checks that all batches have the same form and usable values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.batch_view import Look
from faultlab.guards.support.training_view import TrainingView


class BatchSchema(Guard):
    """A guard against training batches with another form than validation or earlier batches, and against bad values.

    It compares parts, dtypes, dimensions and lengths of every batch; with validation only if both have the same parts.
    NaN is allowed if validation data contain it too. Images and sequences may vary in size. Large tensors are sampled.

    Args:
        tolerance: How far inputs may lie outside the range seen so far, in multiples of its width. The alarm is raised
            if more than a fifth of a batch's values lie further outside.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    judges = "batches"
    checks = {
        "none": "a batch is None",
        "empty": "a batch has no samples",
        "structure": "a batch has other parts than the batches before it",
        "device": "a part is on another device than in validation or in earlier batches",
        "dtype": "a part has another dtype than in validation or in earlier batches",
        "shape": "a part has other dimensions than in validation or in earlier batches",
        "length": "the parts of a batch differ in their number of samples",
        "not-finite": "a value is NaN or infinite",
        "constant": "all inputs of a batch have the same value",
        "same-samples": "all samples of a batch have the same inputs",
        "range": "inputs lie far outside the range seen so far",
    }
    causes = {
        "none": "none, skipped, filtered, return, collate",
        "empty": "empty batch, no sample, filtered, skip",
        "structure": "structure, parts, list, tensors, stack, collate, swapped, order, same, shape, dtype, "
        "dataset, step",
        "device": "device, moved, cpu, cuda, meta",
        "dtype": "dtype, dataset, training, validation",
        "shape": "shape, dimension, size, transposed, missing, single, broadcast, batch_size, loss",
        "length": "length, parts, labels, match, differ, filtered",
        "not-finite": "nan, infinite, finite, dataset, read",
        "constant": "constant, zero, samples, read",
        "same-samples": "same, identical, samples, dataset, collate",
        "range": "outside, range, scaled, normalized, training, validation",
    }

    def __init__(self, tolerance: float = 3.0, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.tolerance = tolerance
        self._reset()

    def _reset(self) -> None:
        self._forms: dict[str, dict[str, tuple[Any, tuple[int, ...], Any]]] = {}
        self._approved: set[Any] = set()
        self._varied = self._collated = False
        self._tolerated: set[str] = set()
        self._absent: set[str] = set()
        self._range: tuple[float, float] | None = None
        self._batches = 0

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._reset()

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # A few batches show everything that there is to learn.
        if batch_idx >= 6 or dataloader_idx or batch is None or not trainer.is_fitting:
            return
        seen = batch_view.look(batch)
        self._remember("validation", seen)
        for path, tensor in seen.usual.items():
            if tensor.is_floating_point() and tensor.numel() and not _is_finite(seen, path):
                self._tolerated.add(path)
        self._learn(seen)

    def _remember(self, stage: str, seen: Look) -> None:
        self._collated |= seen.samples is not None and len(seen.usual) > 1
        form = self._forms.setdefault(stage, {})
        for path, tensor in seen.tensors.items():
            form.setdefault(path, (tensor.dtype, tuple(tensor.shape), tensor.device))

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not pace.due(trainer):
            return
        seen = batch_view.look(batch)
        if not seen.tensors:
            return
        if seen.form not in self._approved:
            several = _are_several(trainer.train_dataloader)
            # An exhausted loader among several yields None for the rest of the epoch.
            self._absent |= {path for path, part in seen.parts if part is None} if several else set()
            for stage, other in (("validation", "validation"), ("train", "earlier batches")):
                if stage in self._forms:
                    self._compare(seen, self._forms[stage], other, batch_idx)
            self._remember("train", seen)
            self._lengths(seen, batch_idx, several)
            if len(self._approved) < 64:
                self._approved.add(seen.form)
        self._values(seen, batch_idx)
        self._batches += 1

    @pace.sparse
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        batch_view.forget()
        if not trainer.shows_batches:
            self.skip("the training loader is not known")
        elif batch is None:
            self.alarm(
                "none",
                f"{self.batch_name(batch_idx)} is None and was skipped",
                "Check what collate_fn returns if samples were filtered out.",
            )

    def _compare(self, seen: Look, form: dict[str, Any], other: str, batch_idx: int) -> None:
        absent = self._absent
        if form.keys() != seen.tensors.keys():
            unstacked = [path for path in form if path not in seen.tensors and f"{path}.0".lstrip(".") in seen.tensors]
            if unstacked and f"{unstacked[0]}.0".lstrip(".") not in form:
                self.alarm(
                    "structure",
                    f"{unstacked[0] or 'the inputs'} of {self.batch_name(batch_idx)} is a list of tensors, but a "
                    f"single tensor in {other}",
                    "Stack the samples in collate_fn.",
                )
            elif other != "validation" and _named(_without(form, absent)) != _named(_without(seen.tensors, absent)):
                self.alarm(
                    "structure",
                    f"{self.batch_name(batch_idx)} has the parts {_list(seen.tensors)}, but {other} have {_list(form)}",
                    "Return the same structure for every batch from the dataset and collate_fn.",
                )
            return
        shapes = {path: tuple(tensor.shape) for path, tensor in seen.tensors.items()}
        if all(shapes[path] == shape[1:] and shape for path, (_, shape, _) in form.items()):
            found = _list(f"{path} {list(shape)}".strip() for path, shape in shapes.items())
            self.alarm(
                "shape",
                f"{self.batch_name(batch_idx)} is a single sample without a batch dimension, unlike in {other}: "
                f"{found}",
                "Check that the loader batches its samples (batch_size=None turns that off).",
            )
            return
        forms = [(_kind(tensor.dtype), shapes[path][1:]) for path, tensor in seen.tensors.items()]
        others = [(_kind(dtype), shape[1:]) for dtype, shape, _ in form.values()]
        if forms != others and len(set(others)) == len(forms) and set(forms) == set(others):
            found = _list(f"{path} {list(shape)}".strip() for path, shape in shapes.items())
            self.alarm(
                "structure",
                f"the parts of {self.batch_name(batch_idx)} are swapped: shapes and dtypes are in another order than "
                f"in {other}, {found}",
                "Use the same order of parts in the dataset and in the step.",
            )
            return
        for path, tensor in seen.tensors.items():
            dtype, shape, device = form[path]
            name = path or "the batch"
            if tensor.device != device:
                self.alarm(
                    "device",
                    f"{name} of {self.batch_name(batch_idx)} is on the device {tensor.device}, but on {device} in "
                    f"{other}",
                    "Check that transfer_batch_to_device, or the batch's own `to`, moves every part.",
                )
            if _kind(tensor.dtype) != _kind(dtype) and tensor.ndim == len(shape):
                self.alarm(
                    "dtype",
                    f"{name} of {self.batch_name(batch_idx)} has the dtype {_bare(tensor.dtype)}, but {_bare(dtype)} "
                    f"in {other}",
                    "Convert it in the dataset, in the same way for training and validation.",
                )
            if tensor.numel() and _is_other_shape(tensor, shape):
                self.alarm(
                    "shape",
                    f"{name} of {self.batch_name(batch_idx)} has the shape {list(tensor.shape)}, but {list(shape)} in "
                    f"{other}",
                    "Look for a dimension that is transposed, missing or added, which makes the loss broadcast.",
                )

    def _lengths(self, seen: Look, batch_idx: int, several: bool) -> None:
        outermost = batch_view.outermost(seen.usual)
        lengths = {path: len(seen.usual[path]) for path in outermost or seen.usual if seen.usual[path].ndim}
        if not outermost and any(lengths.values()):
            return  # lists of samples, where some may have none of something
        if lengths and not min(lengths.values()):
            self.alarm(
                "empty",
                f"{self.batch_name(batch_idx)} is empty: there is no sample in "
                f"{_list(path for path, n in lengths.items() if not n)}",
                "Skip such a batch explicitly, and count how often samples are filtered out.",
            )
        elif self._collated and not several and len(set(lengths.values())) > 1:
            self.alarm(
                "length",
                f"the parts of {self.batch_name(batch_idx)} have different lengths, so that samples and labels don't "
                f"match: {_list(f'{path} {length}' for path, length in lengths.items())}",
                "Cut or filter inputs and labels in the same way where the batch is made.",
            )

    def _values(self, seen: Look, batch_idx: int) -> None:
        for path, tensor in seen.usual.items():
            if not tensor.is_floating_point() or not tensor.numel() or path in self._tolerated:
                continue
            if not _is_finite(seen, path):
                values = tensor.reshape(-1)
                nans, infinite = int(values.isnan().sum()), int(values.isinf().sum())
                self.alarm(
                    "not-finite",
                    f"{path or 'the batch'} of {self.batch_name(batch_idx)} has {nans} NaN and {infinite} infinite "
                    f"values among {len(values)}",
                    "Assert in the dataset that all data are finite (torch.isfinite).",
                )
        self._variation(seen, batch_idx)
        self._learn(seen)

    def _variation(self, seen: Look, batch_idx: int) -> None:
        inputs, path = seen.inputs, seen.input_path
        if inputs is None or path is None or inputs.numel() < 32:
            return
        if not self._varied and (self._batches or "validation" in self._forms):
            return
        low, high = seen.bounds(path)
        if low == high:
            self.alarm(
                "constant",
                f"all inputs of {self.batch_name(batch_idx)} are {low:g}: they are "
                f"constant{' (zero)' if not low else ''}",
                "Look at one batch, and check that the samples are read at all.",
            )
        elif len(inputs) >= 4 and _are_same(inputs):
            self.alarm(
                "same-samples",
                f"all {len(inputs)} samples of {self.batch_name(batch_idx)} have identical inputs",
                "Check whether the dataset or collate_fn returns the same sample each time.",
            )
        elif self._range is not None and math.isfinite(high - low):
            self._outside(inputs, low, high, batch_idx)

    def _outside(self, inputs: Tensor, low: float, high: float, batch_idx: int) -> None:
        assert self._range is not None
        lowest, highest = self._range
        margin = self.tolerance * (highest - lowest)
        if low >= lowest - margin and high <= highest + margin:
            return
        values = batch_view.sampled(inputs)
        share = float(((values < lowest - margin) | (values > highest + margin)).float().mean())
        if share > 0.2:
            self.alarm(
                "range",
                f"{share:.0%} of the inputs of {self.batch_name(batch_idx)} lie far outside the range seen so far, "
                f"{lowest:.3g} to {highest:.3g}: they range from {low:.3g} to {high:.3g}",
                "Scale and normalize training and validation inputs in the same way.",
            )

    def _learn(self, seen: Look) -> None:
        path, inputs = seen.input_path, seen.inputs
        if path is None or inputs is None or not inputs.numel():
            return
        low, high = seen.bounds(path)
        if inputs.numel() >= 32 and low < high:
            self._varied = self._varied or (len(inputs) >= 4 and not _are_same(inputs))
            if inputs.is_floating_point() and math.isfinite(high - low) and self._batches < 50:
                lowest, highest = self._range or (low, high)
                self._range = min(low, lowest), max(high, highest)


def _are_several(loaders: Any) -> bool:
    """Return whether a batch combines those of several loaders, each with its own batch size."""
    return isinstance(loaders, (list, tuple, dict)) and len(loaders) > 1


def _are_same(inputs: Tensor) -> bool:
    """Return whether all samples are the same. Comparing two of them usually suffices to rule it out."""
    return torch.equal(inputs[0], inputs[-1]) and bool((inputs == inputs[:1]).all())


def _is_finite(seen: Look, path: str) -> bool:
    low, high = seen.bounds(path)
    return math.isfinite(low) and math.isfinite(high)


def _kind(dtype: Any) -> Any:
    return dtype if dtype.is_floating_point or dtype.is_complex else "integer"


def _bare(dtype: Any) -> str:
    return str(dtype).replace("torch.", "")


def _named(paths: Any) -> set[str]:
    """Return the named parts, without indices: the length of a list may be the number of samples."""
    return {".".join("*" if name.isdigit() else name for name in path.split(".")) for path in paths}


def _without(paths: Iterable[str], absent: set[str]) -> list[str]:
    """Return the paths without those of parts that may be absent as a whole."""
    return [path for path in paths if not any(f"{path}.".startswith(f"{part}.") for part in absent)]


def _is_other_shape(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    """Return whether a dimension of size one was added or removed, or the channels were moved. Other sizes may vary."""
    now, then = tuple(tensor.shape)[1:], shape[1:]
    if len(now) != len(then):
        return [n for n in now if n != 1] == [n for n in then if n != 1] and bool(shape) and tensor.ndim > 0
    return len(now) > 2 and now != then and sorted(now) == sorted(then) and now.index(min(now)) != then.index(min(then))


def _list(parts: Any) -> str:
    parts = list(parts)
    return ", ".join(part or "batch" for part in parts[:3]) + (f" and {len(parts) - 3} more" if len(parts) > 3 else "")
