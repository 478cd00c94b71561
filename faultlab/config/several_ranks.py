"""Which trainings of several ranks can run here: by a Trainer's arguments, and by what started faultlab itself."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from typing import Any

from faultlab.config.yaml_source import Key
from faultlab.core.cores import cores
from faultlab.errors import UsageError

_DDP = ("ddp", "ddp_spawn", "ddp_fork", "ddp_notebook")
_SUFFIXES = ("", "_find_unused_parameters_true", "_find_unused_parameters_false")
STRATEGIES = frozenset(f"{name}{suffix}" for name in _DDP for suffix in _SUFFIXES)
"""The names of Lightning's strategies whose ranks faultlab can be."""
_LEAST = 4
"""Ranks that any machine bears: those that wait for the others use no core."""
_USE_DDP = "Use `strategy: ddp`, or `devices: 1` and no strategy."
_SHARDING = "ModelParallelStrategy"
_USE_FSDP2 = f"Use {_SHARDING} with fully_shard in configure_model, which shards on the CPU too; or `strategy: ddp`."
_OF_OTHERS = {
    "FSDPStrategy": "fsdp",
    "DeepSpeedStrategy": "deepspeed",
    "XLAStrategy": "xla",
    "XLAFSDPStrategy": "xla_fsdp",
    "SingleDeviceXLAStrategy": "xla",
}
"""The strategies that can't run here, by the name of their class, with a name that Lightning registers them by."""


def refused(arguments: Mapping[str, Any], ranks: int) -> Iterator[tuple[Key, str, str]]:
    """Yield the place among a Trainer's arguments, the message and the remedy for everything that can't run here."""
    devices, strategy = arguments.get("devices"), arguments.get("strategy")
    if _several(arguments.get("num_nodes")):
        yield ("num_nodes",), "training on several machines is not supported", "Set `num_nodes: 1`."
    if _several(devices) and not str(devices).isdecimal():
        yield ("devices",), "the ranks of a training on the CPU are a number", "Write `devices: 2`."
    elif (message := too_many(ranks)) is not None:
        yield ("devices",), *message
    if isinstance(strategy, Mapping):
        yield from _refused_class(strategy, ranks)
    elif isinstance(strategy, str) and strategy != "auto":
        yield from _refused_name(strategy, ranks)


def _refused_name(strategy: str, ranks: int) -> Iterator[tuple[Key, str, str]]:
    key = ("strategy",)
    if strategy.startswith("deepspeed") and importlib.util.find_spec("deepspeed") is None:
        yield key, "deepspeed is not installed, and faultlab can't break its trainings", _USE_DDP
    elif strategy.startswith("fsdp"):
        yield key, "FSDPStrategy needs a GPU, and faultlab trains on the CPU", _USE_FSDP2
    elif strategy.startswith(("deepspeed", "xla")):
        yield key, f"trainings by the strategy {strategy} are not supported", _USE_DDP
    elif strategy in STRATEGIES and ranks == 1:
        yield key, f"the strategy {strategy} has one device", "Set `devices: 2`, or remove the strategy."


def _refused_class(strategy: Mapping[str, Any], ranks: int) -> Iterator[tuple[Key, str, str]]:
    name = str(strategy.get("class_path")).rpartition(".")[2]
    key = ("strategy", "class_path")
    if name in _OF_OTHERS:
        yield from ((key, message, remedy) for _, message, remedy in _refused_name(_OF_OTHERS[name], ranks))
    elif name in (_SHARDING, "DDPStrategy") and ranks == 1:
        yield key, f"{name} has one device", "Set `devices: 2`, or remove the strategy."
    elif name == _SHARDING:
        yield from _refused_mesh(strategy.get("init_args") or {}, ranks)


def _refused_mesh(sizes: Mapping[str, Any], ranks: int) -> Iterator[tuple[Key, str, str]]:
    """Yield what does not fit if the ranks don't fill the mesh; its sizes are Lightning's defaults unless given."""
    auto = {"data_parallel_size": 1, "tensor_parallel_size": ranks}
    shape = {name: own if sizes.get(name, "auto") == "auto" else sizes[name] for name, own in auto.items()}
    at = next((name for name in reversed(auto) if name in sizes), "")
    key = ("strategy", "init_args", at) if at else ("strategy",)
    wrong = [name for name, size in shape.items() if not isinstance(size, int) or size < 1]
    if wrong:
        yield ("strategy", "init_args", wrong[0]), f"{wrong[0]} is not a number of ranks", "Write a number from 1."
        return
    rows, columns = shape.values()
    if rows * columns == ranks:
        return
    told = f"a mesh of {rows} x {columns} does not fit {ranks} devices"
    if ranks % columns:
        yield key, f"{told}: tensor_parallel_size does not divide {ranks}", f"Use one of {_divisors(ranks)}."
    else:
        yield (
            key,
            f"{told}: data_parallel_size times tensor_parallel_size has to be {ranks}",
            (f"Set `data_parallel_size: {ranks // columns}`."),
        )


def _divisors(number: int) -> str:
    return ", ".join(str(one) for one in range(1, number + 1) if number % one == 0)


def too_many(ranks: int) -> tuple[str, str] | None:
    """Return the message and the remedy if this machine doesn't bear so many ranks."""
    if ranks <= (most := max(_LEAST, 2 * cores())):
        return None
    return f"{ranks} ranks on {cores()} cores are more than this machine bears", f"Use at most {most}."


def refuse_launchers() -> None:
    """Raise UsageError inside a launcher: each of its processes would run the whole command, as one rank of many."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        by = "torchrun (TORCHELASTIC_RUN_ID is set)"
    elif _number(environment.get("WORLD_SIZE")) > 1 and "RANK" in environment:
        by = f"a launcher of {environment['WORLD_SIZE']} processes (RANK and WORLD_SIZE are set)"
    elif "LOCAL_RANK" in environment:
        by = "a launcher (LOCAL_RANK is set)"
    elif _number(environment.get("SLURM_NTASKS")) > 1 and "SLURM_PROCID" in environment:
        by = f"srun with {environment['SLURM_NTASKS']} tasks (SLURM_PROCID is set)"
    else:
        return
    raise UsageError(
        f"faultlab was started by {by}, but it starts the ranks of a training itself\n"
        "    Start one faultlab without the launcher, and set `devices` under `trainer` in the scenario; "
        "`ranks` for a training loop."
    )


def _several(value: Any) -> bool:
    if isinstance(value, str):
        return (value.isdecimal() and int(value) > 1) or "," in value
    if isinstance(value, list):
        return len(value) > 1
    return isinstance(value, int) and value > 1


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0
