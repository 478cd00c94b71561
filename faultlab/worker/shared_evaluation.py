"""The evaluation of one set of weights, shared by all runs of a campaign that end with them.

Many faults leave the weights of the clean run behind (they break a report, a log, a validation), or the initial ones.
Each set of weights is evaluated by the first run that ends with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import Any


class SharedEvaluation:
    """The file that holds the metrics of one set of weights, for the runs of one campaign.

    Args:
        folder: Where the runs of the campaign share; empty for a run that shares nothing.
        digest: Of the weights, to the bit.
        circumstances: What the metrics depend on besides, told apart by their ``repr``: the target, the seed, the way
            of evaluating, the module's structure.
    """

    def __init__(self, folder: str, digest: str, *circumstances: Any) -> None:
        try:
            told = repr((digest, *circumstances))
        except Exception:  # a user's own __repr__ may raise; such a module is evaluated after each run
            folder = told = ""
        self._file = os.path.join(folder, hashlib.sha256(told.encode()).hexdigest()) if folder else ""

    def read(self) -> dict[str, float] | None:
        """Return the metrics; None where no run has ended with these weights yet."""
        if not self._file:
            return None
        try:
            with open(self._file) as file:
                return {str(name): float(value) for name, value in json.load(file).items()}
        except (OSError, ValueError, AttributeError):
            return None

    def write(self, metrics: dict[str, float]) -> None:
        """Keep the metrics for the runs to come; a full disk only means that they evaluate for themselves."""
        if not self._file:
            return
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._file), exist_ok=True)
            unfinished = f"{self._file}.{os.getpid()}"
            with open(unfinished, "w") as file:
                json.dump(metrics, file)
            os.replace(unfinished, self._file)
