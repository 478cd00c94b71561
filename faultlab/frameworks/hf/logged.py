"""The numbers that a Trainer logs, without those of time and progress."""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Number
from typing import Any

_NO_METRIC = re.compile(
    r"(.*_)?(runtime|model_preparation_time|total_flos|num_input_tokens_seen|num_tokens|epoch|step)|.*_per_second(_per_gpu)?"
    r"|.*_mem_(cpu|gpu)_.*"
)


def metrics_in(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics among what was logged, such as ``eval_loss``, by name.

    Args:
        logs: Numbers by name, as `Trainer.log` receives them and `Trainer.evaluate` returns them.
    """
    return {
        str(name): float(value)  # type: ignore[arg-type]
        for name, value in logs.items()
        if isinstance(value, Number) and not isinstance(value, complex) and not _NO_METRIC.fullmatch(str(name))
    }
