"""Scores by method: its source mutants, and the failure modes that act in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.report import FaultResult, Status

# Where a seam's faults would be written into the source, if somebody had made them there.
_STEPS = {"train": "training_step", "validate": "validation_step", "test": "test_step", "predict": "predict_step"}
_LOADERS = {"train": "train_dataloader", "validate": "val_dataloader", "test": "test_dataloader"}
_IN_STEPS = ("StepOutput", "StepCall", "Definition", "Loss", "Backward", "Clipping", "Logging", "MetricReset")
_IN_LOADERS = ("Batch", "Loader", "LoaderArguments", "Loaders")
_METHODS = {
    "Optimizers": "configure_optimizers",
    "OptimizerStep": "optimizer_step",
    "ZeroGrad": "optimizer_zero_grad",
    "Architecture": "__init__",
    "ModuleArguments": "__init__",
    "Weights": "__init__",
    "ModuleOutput": "forward",
    "HeadInput": "forward",
    "Sample": "__getitem__",
}
COUNTED = (Status.NOTICED, Status.WARNED, Status.SILENT, Status.NOT_ACTIVATED)
_JUDGED = (Status.NOTICED, Status.WARNED, Status.SILENT)


def method_of(mode: FailureMode) -> str:
    """The method that a failure mode bites in; empty where it is none of the module's."""
    stage = mode.stages[0] if mode.stages else "train"
    if mode.seam in _IN_STEPS:
        return _STEPS.get(stage, "")
    if mode.seam in _IN_LOADERS:
        return _LOADERS.get(stage, "")
    return _METHODS.get(mode.seam, "")


def score(mutants: Iterable[FaultResult]) -> float | None:
    """The share of those that count which somebody notices, to four digits; None where none counts."""
    counted = [result for result in mutants if result.status in COUNTED]
    noticed = sum(result.status is Status.NOTICED for result in counted)
    return round(noticed / len(counted), 4) if counted else None


def rows(
    mutants: Iterable[FaultResult], modes: Mapping[str, Status], known: Mapping[str, FailureMode]
) -> list[dict[str, Any]]:
    """A row a function, the weakest first: its mutants by status, and the failure modes of methods of its name."""
    found: dict[tuple[str, str], list[FaultResult]] = {}
    for result in mutants:
        if result.mutant is not None:
            found.setdefault((result.mutant["file"], result.mutant["function"]), []).append(result)
    made = [_row(file, function, results, modes, known) for (file, function), results in found.items()]
    return sorted(made, key=lambda row: (_share(row), -row["counted"], row["file"], row["line"]))


def _row(file: str, function: str, results: list[FaultResult], modes: Mapping[str, Status],
         known: Mapping[str, FailureMode]) -> dict[str, Any]:  # fmt: skip
    name = function.rpartition(".")[2]
    bites = [
        status for id, status in modes.items() if id in known and method_of(known[id]) == name and status in _JUDGED
    ]
    counted = [result for result in results if result.status in COUNTED]
    return {
        "file": file,
        "function": function,
        "line": min(result.mutant["line"] for result in results if result.mutant is not None),
        "noticed": sum(result.status is Status.NOTICED for result in counted),
        "counted": len(counted),
        "not_activated": sum(result.status is Status.NOT_ACTIVATED for result in counted),
        "modes_noticed": sum(status is Status.NOTICED for status in bites),
        "modes": len(bites),
    }


def _share(row: Mapping[str, Any]) -> float:
    return row["noticed"] / row["counted"] if row["counted"] else 2.0


def sentence(row: Mapping[str, Any]) -> str:
    """The row in words."""
    said = f"{row['function']}: {row['noticed']} of {row['counted']} mutant{'' if row['counted'] == 1 else 's'} killed"
    if row["not_activated"]:
        said += f" ({row['not_activated']} never run)"
    if row["modes"]:
        said += f", {row['modes_noticed']} of {row['modes']} failure modes noticed"
    return said
