"""The evaluation of one set of weights, shared by all runs of a campaign that end with them.

Many faults end with the weights of the clean run (they break a report, a log, a validation) or with the initial ones.
Each set of weights is evaluated by the first run that ends with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import Any


class SharedEvaluation:
    """The file with the metrics of one set of weights, for the runs of one campaign.

    Args:
        folder: The shared folder of the campaign; empty for a run that shares nothing.
        digest: A digest of the weights.
        circumstances: Everything else that the metrics depend on, compared by ``repr``: the target, the seed, the
            evaluation settings, the module's structure.
    """

    def __init__(self, folder: str, digest: str, *circumstances: Any) -> None:
        try:
            text = repr((digest, *circumstances))
        except Exception:  # a user's own __repr__ may raise; such a module is evaluated in each run
            folder = text = ""
        self._file = os.path.join(folder, hashlib.sha256(text.encode()).hexdigest()) if folder else ""

    def read(self) -> dict[str, float] | None:
        """Return the metrics; None if no run has ended with these weights yet."""
        if not self._file:
            return None
        try:
            with open(self._file) as file:
                return {str(name): float(value) for name, value in json.load(file).items()}
        except (OSError, ValueError, AttributeError):
            return None

    def write(self, metrics: dict[str, float]) -> None:
        """Write the metrics for later runs; if the disk is full, they evaluate for themselves."""
        if not self._file:
            return
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._file), exist_ok=True)
            unfinished = f"{self._file}.{os.getpid()}"
            with open(unfinished, "w") as file:
                json.dump(metrics, file)
            os.replace(unfinished, self._file)
