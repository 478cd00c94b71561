"""Which trainings of several ranks can run here: by a Trainer's arguments, and by what started faultlab itself."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from typing import Any

from faultlab.core.cores import cores
from faultlab.errors import UsageError

_DDP = ("ddp", "ddp_spawn", "ddp_fork", "ddp_notebook")
_SUFFIXES = ("", "_find_unused_parameters_true", "_find_unused_parameters_false")
STRATEGIES = frozenset(f"{name}{suffix}" for name in _DDP for suffix in _SUFFIXES)
"""The names of Lightning's strategies whose ranks faultlab can be."""
_LEAST = 4
"""Ranks that any machine bears: those that wait for the others use no core."""
_USE_DDP = "Use `strategy: ddp`, or `devices: 1` and no strategy."


def refused(arguments: Mapping[str, Any], ranks: int) -> Iterator[tuple[str, str, str]]:
    """Yield the argument of a Trainer, the message and the remedy for everything that can't run here."""
    devices, strategy = arguments.get("devices"), arguments.get("strategy")
    if _several(arguments.get("num_nodes")):
        yield "num_nodes", "training on several machines is not supported", "Set `num_nodes: 1`."
    if _several(devices) and not str(devices).isdecimal():
        yield "devices", "the ranks of a training on the CPU are a number", "Write `devices: 2`."
    elif (message := too_many(ranks)) is not None:
        yield "devices", *message
    if not isinstance(strategy, str) or strategy == "auto":
        return
    if strategy.startswith("deepspeed") and importlib.util.find_spec("deepspeed") is None:
        yield "strategy", "deepspeed is not installed, and faultlab can't break its trainings", _USE_DDP
    elif strategy.startswith("fsdp"):
        yield "strategy", "FSDPStrategy needs a GPU, and faultlab trains on the CPU", _USE_DDP
    elif strategy.startswith(("deepspeed", "xla")):
        yield "strategy", f"trainings by the strategy {strategy} are not supported", _USE_DDP
    elif strategy in STRATEGIES and ranks == 1:
        yield "strategy", f"the strategy {strategy} has one device", "Set `devices: 2`, or remove the strategy."


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
