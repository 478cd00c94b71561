"""The process of an environment: takes cells as lines of JSON, runs each in a fork of itself, and prints outcomes."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys

from benchmarks.realbugs.bug import chosen
from benchmarks.realbugs.cells import TIME_LIMIT, Cell, in_child
from benchmarks.realbugs.registry import detectors

NIGHTLY_LIMIT = 1800.0
# What the trainings of a framework import.
_IMPORTS = {
    "torch": ("benchmarks.realbugs.training", "torch._dynamo"),
    "lightning": ("benchmarks.realbugs.training", "pytorch_lightning"),
    "transformers": ("benchmarks.realbugs.training", "torch._dynamo", "transformers.trainer"),
}


def prepare(cell: Cell) -> None:
    """Import and read once what every fork would have to, as far as this cell needs it."""
    from benchmarks.realbugs import material

    (bug,) = chosen([cell.bug])
    for name in (*_IMPORTS[bug.framework], detectors()[cell.detector].module):
        # A missing package is an error of the cell, which says so.
        with contextlib.suppress(ImportError):
            if name:
                importlib.import_module(name)
    material.digits()
    material.diabetes()
    material.text()


def main() -> None:
    """Answer each line of standard input with one line of standard output."""
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        cell = Cell(**json.loads(line))
        prepare(cell)
        limit = NIGHTLY_LIMIT if detectors()[cell.detector].nightly else TIME_LIMIT
        print(json.dumps(in_child(cell, limit).to_json()), flush=True)


if __name__ == "__main__":
    main()
