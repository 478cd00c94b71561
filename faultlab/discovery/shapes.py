"""Batches that a module can train on, found by trying: shapes from its first layers, labels from its last ones.

Runs in its own process, which may crash or hang.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from faultlab.core.alert import safe_text
from faultlab.discovery.module_source import roles
from faultlab.frameworks.lightning import namespaces, private_api
from faultlab.frameworks.lightning.target import SILENT
from faultlab.targets import synthetic

_SIZES = (28, 32, 64, 16, 8, 224, 96, 128, 48, 256, 299, 84, 100, 40, 20, 12)
_LENGTHS = (16, 32, 64, 128, 20, 100, 256, 1000)
_BATCH = 4
_CHECKED = ("Using a target size", "broadcasting")
_MOST_SHAPES, _MOST_LABELS = 40, 14
_NO_BATCH = [["x", "y"], "x", {"x": None, "y": None}]

Spec = Any


class Search:
    """A search for a batch; ``tried`` counts the trainings that were started, ``errors`` how they ended."""

    def __init__(self, make: Callable[[], Any], reading: Mapping[str, Any], seconds: float) -> None:
        self._make = make
        self._reading = reading
        self._late = time.monotonic() + seconds
        self.tried = 0
        self.errors: Counter[str] = Counter()

    def run(self) -> Spec:
        """Return the description of a batch for `faultlab.targets.synthetic.data`, or None if none was found."""
        module = self._make()
        inputs = _ordered(module, list(_inputs(module)))
        given = self._reading.get("batch")
        for batch in [given] if given is not None else _NO_BATCH:
            parts = roles(batch)
            count = list(_flat(parts)).count("input")
            combinations = [(one,) * count for one in inputs[:_MOST_SHAPES]]
            if count > 1:
                combinations += [c for c in itertools.product(inputs[:6], repeat=min(count, 3)) if len(c) == count]
            for chosen in combinations:
                for label in self._labels(module, chosen, parts):
                    spec = _filled(parts, list(chosen), label)
                    if time.monotonic() > self._late:
                        self.errors["no time was left to try others"] += 1
                        return None
                    if self._trains(spec):
                        return spec
        return None

    def _trains(self, spec: Spec) -> bool:
        """Return whether two training steps and a validation succeed, with finite losses."""
        self.tried += 1
        module = self._make()
        namespace = namespaces.namespace_of(type(module))
        torch.manual_seed(0)
        losses: list[float] = []

        class Recorder(private_api.part(namespace, "callbacks:Callback")):  # type: ignore[misc]
            def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *more: Any) -> None:
                loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
                if isinstance(loss, Tensor):
                    losses.append(float(loss.detach()))

        try:
            data = synthetic.data(spec, batch_size=_BATCH, samples=2 * _BATCH, validation=_BATCH)
            loaders = {"train_dataloaders": data[0]}  # type: ignore[index]
            if self._reading.get("validates", True):
                loaders["val_dataloaders"] = data[1]  # type: ignore[index]
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                trainer = private_api.part(namespace, private_api.TRAINER)(
                    max_epochs=1, accelerator="cpu", devices=1, callbacks=[Recorder()], num_sanity_val_steps=0, **SILENT
                )
                trainer.fit(module, **loaders)
            said = [str(one.message) for one in warned if any(word in str(one.message) for word in _CHECKED)]
            if said:
                raise ValueError(said[0].partition("\n")[0])
            if not all(map(math.isfinite, losses)) or (module.automatic_optimization and not losses):
                raise ValueError(f"invalid losses: {losses}")
        except (Exception, SystemExit) as error:
            self.errors[_short(error)] += 1
            return False
        return True

    def _labels(self, module: Any, inputs: tuple[Spec, ...], parts: Any) -> Iterator[Spec]:
        """Yield descriptions of labels, the most likely first; a single one if the batch has no labels."""
        if "label" not in set(_flat(parts)):
            yield {"classes": 10}
            return
        found: list[Spec] = []
        outputs = _output(module, inputs)
        sizes = _sizes_out(module)
        for kind in [*self._reading.get("losses", []), "classes", "target", "flags"]:
            if kind == "classes":
                for shape in outputs:
                    if len(shape) > 1:
                        found.append({"classes": shape[0], "shape": list(shape[1:])})
                        found.append({"classes": shape[-1], "shape": list(shape[:-1])})
                found += [{"classes": size} for size in [*(shape[0] for shape in outputs if shape), *sizes] if size > 1]
                found += [{"classes": leaf["of"], "shape": leaf["tokens"]} for leaf in inputs if "tokens" in leaf]
                found.append({"classes": 2})
            else:
                found += [{kind: list(shape)} for shape in outputs]
                found += [{kind: []}, {kind: [1]}] + [{kind: [size]} for size in sizes]
                found += [{kind: leaf["input"]} for leaf in inputs if "input" in leaf]
        unique = {repr(spec): spec for spec in sorted(found, key=lambda spec: spec.get("classes", 2) < 2)}
        yield from list(unique.values())[:_MOST_LABELS]


def _inputs(module: Any) -> Iterator[Spec]:
    """Yield inputs that the first layers could take, those of the very first layer first."""
    example = getattr(module, "example_input_array", None)
    if isinstance(example, Tensor):
        if example.is_floating_point():
            yield {"input": list(example.shape[1:])}
        else:
            yield {"tokens": list(example.shape[1:]), "of": int(example.max()) + 1}
    layers = [layer for layer in module.modules() if not list(layer.children()) or _recurrent(layer)]
    shown: list[Spec] = []
    for layer in layers[:40]:
        for spec in itertools.chain(_taken(layer)):
            if spec not in shown:
                shown.append(spec)
                yield spec


def _taken(layer: Any) -> Iterator[Spec]:
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        common = _SIZES if layer.in_channels == 1 else (32, 64, 28, *_SIZES[3:])
        yield from ({"input": [layer.in_channels, size, size]} for size in common)
        yield from ({"input": [size, size]} for size in (28, 32, 64) if layer.in_channels == 1)
    elif isinstance(layer, nn.Conv1d):
        yield from ({"input": [layer.in_channels, size]} for size in (*_LENGTHS, 512, 1024))
    elif isinstance(layer, nn.Conv3d):
        yield from ({"input": [layer.in_channels, size, size, size]} for size in (16, 32, 8, 64))
    elif isinstance(layer, nn.Embedding):
        yield from ({"tokens": [size], "of": layer.num_embeddings} for size in (16, 8, 32, 64, 128, 10, 20))
        yield {"tokens": [], "of": layer.num_embeddings}
    elif _recurrent(layer):
        yield from ({"input": [size, layer.input_size]} for size in _LENGTHS[:5])
        if layer.input_size == 1:
            yield from ({"input": [size]} for size in _LENGTHS[:5])
    elif isinstance(layer, nn.Linear):
        size = layer.in_features
        for channels in (1, 3):
            side = math.isqrt(size // channels)
            if side > 7 and channels * side * side == size:
                yield {"input": [channels, side, side]}
        yield {"input": [size]}
        yield from ({"input": [length, size]} for length in _LENGTHS[:3])
        if size == 1:
            yield {"input": []}


def _recurrent(layer: Any) -> bool:
    return isinstance(layer, nn.RNNBase)


def _ordered(module: Any, inputs: list[Spec]) -> list[Spec]:
    """Return the inputs with those that forward accepts first; a training step may use them differently."""
    taken = [spec for spec in inputs if _output(module, (spec,))]
    return taken + [spec for spec in inputs if spec not in taken]


def _output(module: Any, inputs: tuple[Spec, ...]) -> list[tuple[int, ...]]:
    """Return the shapes that forward returns for these inputs, without the batch dimension."""
    batch = next(iter(synthetic.data(list(inputs), batch_size=_BATCH, samples=_BATCH, validation=0)))
    was = module.training
    try:
        module.eval()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = module(*batch)
    except (Exception, SystemExit):
        return []
    finally:
        module.train(was)
    named = list(given.values()) if isinstance(given, Mapping) else [given]
    tensors = given if isinstance(given, (tuple, list)) else named
    shapes = [tuple(t.shape[1:]) for t in tensors if isinstance(t, Tensor) and t.dim() and t.shape[0] == _BATCH]
    # The order matters: a loss may treat a scalar per sample and a vector of one differently.
    return list(dict.fromkeys(shapes))


def _sizes_out(module: Any) -> list[int]:
    """Return the output sizes of the last layers, and the module's own numbers of classes."""
    sizes: list[int] = []
    with contextlib.suppress(Exception):
        sizes += [int(size) for name, size in dict(module.hparams).items() if "class" in name and isinstance(size, int)]
    for layer in reversed(list(module.modules())):
        size = getattr(layer, "out_features", getattr(layer, "out_channels", None))
        if isinstance(size, int) and len(sizes) < 4:
            sizes.append(size)
        for name in ("num_classes", "num_labels"):
            if isinstance(getattr(layer, name, None), int):
                sizes.insert(0, getattr(layer, name))
    return list(dict.fromkeys(sizes))


def _flat(parts: Any) -> Iterator[str]:
    if isinstance(parts, str):
        yield parts
    else:
        for part in parts.values() if isinstance(parts, dict) else parts:
            yield from _flat(part)


def _filled(parts: Any, inputs: list[Spec], label: Spec) -> Spec:
    first = inputs[0] if inputs else {"input": [1]}

    def fill(part: Any) -> Spec:
        if isinstance(part, dict):
            return {name: fill(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [fill(inner) for inner in part]
        if part == "label":
            return dict(label)
        if part == "mask":
            return {"mask": first.get("tokens", first.get("input", []))}
        return {"classes": 10} if part == "unused" else dict(inputs.pop(0) if inputs else first)

    inputs = list(inputs)
    return fill(parts)


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {safe_text(error)}".partition("\n")[0][:200]
