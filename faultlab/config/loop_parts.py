"""The parts of a scenario that only a training loop has."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from faultlab.config.scenario_fields import refused


class Part(BaseModel):
    """A mapping of a scenario file."""

    # Editors show the texts below the fields as descriptions of the keys.
    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class Resumption(Part):
    """How a training loop continues from its checkpoints."""

    init_args: dict[str, Any] = {}
    """The arguments of `train` that differ then, such as `{resume: true}`; none if it looks for checkpoints itself."""


class Reported(Part):
    """Where a training loop reports its metrics, besides what its functions return and what it logs."""

    stdout: str | None = None
    """A regular expression for a printed line; each named group is a metric, as in `val loss (?P<val_loss>\\S+)`."""
    jsonl: str | None = None
    """A file to which it writes one JSON object a line; each number in it is a metric."""

    @model_validator(mode="after")
    def _is_complete(self) -> Reported:
        if self.stdout is None and self.jsonl is None:
            raise refused("`metrics` must have `stdout` or `jsonl`", "Give one of them.")
        try:
            named = self.stdout is None or bool(re.compile(self.stdout).groupindex)
        except re.error as error:
            raise refused(f"invalid regular expression in `stdout`: {error}", "Fix it.") from None
        if not named:
            raise refused("`stdout` names no metric", "Name a group, as in `loss (?P<val_loss>\\S+)`.")
        return self
