"""The process of an environment: takes cells as lines of JSON, runs each in a fork of itself, and prints outcomes."""

from __future__ import annotations

import json
import sys

from benchmarks.realbugs.cells import Cell, in_child


def main() -> None:
    """Answer each line of standard input with one line of standard output."""
    # What every cell needs is imported once, before it forks.
    import pytorch_lightning
    import sklearn.datasets
    import torch

    del pytorch_lightning, sklearn.datasets
    torch.set_num_threads(1)
    try:
        import transformers
    except ModuleNotFoundError:
        pass
    else:
        del transformers
    for line in sys.stdin:
        outcome = in_child(Cell(**json.loads(line)))
        print(json.dumps(outcome.to_json()), flush=True)


if __name__ == "__main__":
    main()
