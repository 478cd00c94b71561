"""Types of the keys of report.json: numbers within bounds, and optional or null values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Line = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = float | None
"""A result of a training: null if it is not finite, since JSON can't represent that."""
LEFT_OUT: Any = Field(default=None)
"""A key that may be missing, and that is never null."""


class Part(BaseModel):
    # The docstrings below fields are their descriptions.
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
