"""Measurements of a training for the comparison with other runs of the same configuration: facts and numbers.

A fact is a JSON value that a healthy run repeats exactly, a number one that it repeats approximately. All functions
here only read. The names that they return are keys of recorded files: a rewording makes the records useless.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from faultlab.guards.support.training_view import TrainingView

SAMPLED = 65_536
TENSORS = 20
_CLASSES = 32
_PROJECTIONS = 8
_FEW = 1024
_KINDS = ("mean", "deviation", "minimum", "maximum", "share of zeros")
_SHARES = tuple(f"share of class {number}" for number in range(_CLASSES))
_PROJECTED = tuple(f"projection {number}" for number in range(_PROJECTIONS))
_DIGESTS = 500
_LONG = 12_000
_MOVING = {"lr", "initial_lr", "max_lr", "min_lr", "params", "last_epoch", "best", "num_bad_epochs", "cooldown_counter",
           "T_cur", "T_i"}  # fmt: skip
_projections: dict[int, torch.Tensor] = {}


def plain(value: Any) -> Any:
    """Return the value as JSON data, None if it depends on this process rather than on the configuration."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    return None


def settings(trainer: TrainingView) -> dict[str, Any]:
    """Return the training's settings by name."""
    return {name: plain(value) for name, value in trainer.settings().items()}


def hyperparameters(trainer: TrainingView, module: Any) -> dict[str, Any]:
    """Return the hyperparameters that the module and the datamodule declare."""
    found = {}
    for owner, part in (("module", module), ("data", trainer.datamodule)):
        declared = getattr(part, "hparams", None)
        if isinstance(declared, Mapping):
            found.update({f"{owner}.{name}": plain(value) for name, value in declared.items()})
    return found


def structure(trainer: TrainingView, module: Any) -> dict[str, list[str]]:
    """Return layers, parameters, optimizers and schedules, as one line each."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    parts = [(name, part) for name, part in module.named_modules() if name]
    layers = [f"{name}: {type(part).__name__}({' '.join(part.extra_repr().split())})" for name, part in parts]
    parameters = [
        f"{name}: {str(p.dtype)[6:]}{list(p.shape)}{'' if p.requires_grad else ', frozen'}"
        for name, p in module.named_parameters()
    ]
    optimizers = []
    for number, optimizer in enumerate(trainer.optimizers or ()):
        for group in optimizer.param_groups:
            held = [names.get(id(parameter), "no parameter of the module") for parameter in group["params"]]
            rest = _plain_settings(_without_cycled(group))
            holds = f"{len(held)} tensors ({_names(held)}; {zlib.crc32(repr(held).encode()):x})"
            optimizers.append(f"optimizer {number}: {type(optimizer).__name__}({rest}) of {holds}")
    schedules = []
    for config in trainer.lr_scheduler_configs or []:
        scheduler = config.scheduler
        rest = _plain_settings({key: value for key, value in vars(scheduler).items() if not key.startswith("_")})
        when = f"every {config.frequency} {config.interval}, monitors {config.monitor}"
        schedules.append(f"{type(scheduler).__name__}({rest}) {when}")
    manual = [] if getattr(module, "automatic_optimization", True) else ["manual optimisation"]
    found = {"layers": layers, "parameters": parameters, "optimizers": optimizers, "schedules": schedules}
    return {**found, "optimisation": manual}


def fingerprints(lines: list[str]) -> tuple[list[str], int]:
    """Return the lines and 1, or, if they are too long to be kept, digests of blocks and the length of a block."""
    if sum(map(len, lines)) <= _LONG:
        return lines, 1
    block = -(-len(lines) // _DIGESTS)
    parts = ["".join(lines[start : start + block]) for start in range(0, len(lines), block)]
    return [f"{zlib.crc32(part.encode()):08x}" for part in parts], block


def loading(loaders: Any) -> dict[str, Any]:
    """Return how the data is loaded: the sampler, the number of samples, the batch size."""
    found: dict[str, Any] = {}
    for number, loader in enumerate(_loaders(loaders)):
        where = f" of loader {number}" if number else ""
        sampler, batches = getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)
        found[f"the sampler{where}"] = type(sampler).__name__
        found[f"the batch size{where}"] = plain(loader.batch_size or getattr(batches, "batch_size", None))
        found[f"drop_last{where}"] = bool(getattr(batches, "drop_last", False))
        found[f"the number of samples{where}"] = _length(loader.dataset)
        found[f"the dataset's class{where}"] = type(loader.dataset).__name__
    return found


def leaves(batch: Any, where: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a batch with their places."""
    if isinstance(batch, torch.Tensor):
        yield where or "the batch", batch
    elif isinstance(batch, Mapping):
        for key, value in batch.items():
            yield from leaves(value, f"{where}[{key!r}]")
    elif isinstance(batch, (list, tuple)):
        for index, value in enumerate(batch):
            yield from leaves(value, f"{where}[{index}]")
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        for entry in dataclasses.fields(batch):
            yield from leaves(getattr(batch, entry.name), f"{where}.{entry.name}")


def batch_size(found: list[tuple[str, torch.Tensor]]) -> int:
    """Return the most frequent first dimension of a batch's tensors."""
    sizes = [len(leaf) for _, leaf in found if leaf.ndim]
    return max(set(sizes), key=sizes.count) if sizes else 0


def of_batch(leaf: torch.Tensor) -> dict[str, float]:
    """Return the numbers of one tensor of a batch."""
    if leaf.numel() == 0 or leaf.is_complex() or leaf.layout is not torch.strided:
        return {}
    if leaf.ndim < 2 and leaf.numel() <= _FEW and not leaf.is_floating_point() and leaf.device.type == "cpu":
        return _of_few(leaf.flatten().tolist())
    values = leaf.detach().float()
    found = dict(zip(_KINDS, _moments(values)))
    if values.ndim < 2:
        if not leaf.is_floating_point() and found["minimum"] >= 0 and found["maximum"] < _CLASSES:
            counts = torch.bincount(leaf.detach().long().flatten(), minlength=_CLASSES).tolist()
            found.update(zip(_SHARES, [count / len(values) for count in counts]))
        return found
    if not leaf.is_floating_point() and values.ndim == 2:
        values = torch.nn.functional.one_hot(leaf.detach().long() % 8, 8).float().mean(dim=1)
        return found | {f"share of ids that are {n} modulo 8": v for n, v in enumerate(values.mean(dim=0).tolist())}
    means = _sampled(values.flatten(1).mean(dim=0), SAMPLED // 16)
    if len(means) <= 16:
        return found | {f"mean of feature {number}": value for number, value in enumerate(means.tolist())}
    found.update(zip(_PROJECTED, (means @ _projection(means)).tolist()))
    return found


def _of_few(values: list[int]) -> dict[str, float]:
    """Return the same for a few integers, which is faster without tensors."""
    n = len(values)
    counts = Counter(values)
    mean = sum(values) / n
    deviation = math.sqrt(sum(count * (value - mean) ** 2 for value, count in counts.items()) / n)
    low, high = min(counts), max(counts)
    found = dict(zip(_KINDS, (mean, deviation, float(low), float(high), counts[0] / n)))
    if low >= 0 and high < _CLASSES:
        found.update(zip(_SHARES, [counts[number] / n for number in range(_CLASSES)]))
    return found


def of_weights(tensor: torch.Tensor) -> dict[str, tuple[float, float]]:
    """Return the numbers of a weight tensor, each with the deviation that chance alone gives it."""
    if tensor.numel() == 0 or tensor.is_complex() or tensor.layout is not torch.strided:
        return {}
    values = _sampled(tensor.detach().flatten(), SAMPLED).float()
    mean, deviation, low, high, _ = _moments(values)
    n = len(values)
    chance = deviation / math.sqrt(n)
    few = _sampled(values, 4096)
    return {
        "mean": (mean, chance),
        "deviation": (deviation, chance),
        "largest value": (max(-low, high), deviation),
        "share of distinct values": (len(torch.unique(few)) / len(few), 0.02),
    }


def of_activation(output: Any) -> dict[str, float]:
    """Return the numbers of a layer's output."""
    tensor = next((leaf for _, leaf in leaves(output)), None)
    if tensor is None or not tensor.is_floating_point() or tensor.numel() == 0:
        return {}
    found = _moments(tensor.detach().float())
    return {"mean": found[0], "deviation": found[1], "share of zeros": found[4]}


def norms(tensors: list[torch.Tensor]) -> list[float]:
    """Return the norms of several tensors, with a single transfer."""
    dense = [t.detach().to_dense() if t.is_sparse else t.detach() for t in tensors]
    return torch.stack([n.float() for n in torch._foreach_norm(dense)]).tolist() if dense else []


def chosen(named: Iterable[tuple[str, Any]], limit: int = TENSORS) -> dict[str, Any]:
    """Return at most ``limit`` of the named objects, evenly spread, including the first and the last."""
    found = list(named)
    if len(found) <= limit:
        return dict(found)
    return dict(found[round(index * (len(found) - 1) / (limit - 1))] for index in range(limit))


def moving(named: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the chosen tensors without tiny ones, whose mean and norm may have any value by chance."""
    return chosen((name, tensor) for name, tensor in named if tensor.numel() >= 8)


def evaluating(module: Any) -> list[str]:
    """Return the first few parts that are in eval mode, then their number."""
    names = [name or "the module" for name, part in module.named_modules() if not part.training]
    return [*names[:3], str(len(names))]


def fine(position: int) -> tuple[int, bool]:
    """Return the cell of a batch and whether it is alone in it: the first 64 are, later ones share eight an octave."""
    if position < 64:
        return position, True
    octave = position.bit_length() - 7
    return 64 + 8 * octave + ((position >> (octave + 3)) & 7), False


def coarse(position: int) -> int | None:
    """Return the cell of a batch that is measured more closely (0, 1, 2, 3, 4, 6, 8, 12, ...), None for the others."""
    if position < 2:
        return position
    octave = position.bit_length() - 1
    half, rest = divmod(position - (1 << octave), 1 << (octave - 1))
    return None if rest else 2 * octave + half


def _moments(values: torch.Tensor) -> list[float]:
    """Return the mean, the deviation, the minimum, the maximum and the share of zeros."""
    values = _sampled(values.flatten(), SAMPLED)
    found = torch.stack([values.mean(), values.std(correction=0), *torch.aminmax(values)]).tolist()
    return [*found, 1 - int(torch.count_nonzero(values)) / len(values)]


def _sampled(values: torch.Tensor, limit: int) -> torch.Tensor:
    return values[:: -(-len(values) // limit)] if len(values) > limit else values


def _projection(means: torch.Tensor) -> torch.Tensor:
    n = len(means)
    if n not in _projections:
        generator = torch.Generator().manual_seed(0)
        _projections[n] = torch.randn(n, _PROJECTIONS, generator=generator) / math.sqrt(n)
    return _projections[n].to(means.device)


def _loaders(found: Any) -> Iterator[Any]:
    found = getattr(found, "iterables", found)
    if hasattr(found, "dataset") and hasattr(found, "batch_size"):
        yield found
    elif isinstance(found, (Mapping, list, tuple)):
        for part in found.values() if isinstance(found, Mapping) else found:
            yield from _loaders(part)


def _length(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):
        return None


def _without_cycled(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimizer's group without the momentum that its schedule moves: a resumed training begins within."""
    if "max_momentum" not in group:
        return dict(group)
    kept = {key: value for key, value in group.items() if key not in ("momentum", "betas")}
    return {**kept, "further betas": list(group["betas"][1:])} if "betas" in group else kept


def _plain_settings(values: Mapping[str, Any]) -> str:
    kept = {key: plain(value) for key, value in values.items() if key not in _MOVING}
    return ", ".join(f"{key}={value}" for key, value in kept.items() if value is not None)


def _names(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]}"
