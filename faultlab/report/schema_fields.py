"""What the keys of report.json are made of: numbers within bounds, and what may be left out or null."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Line = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = float | None
"""A number that a training came to: null where it is not finite, since JSON has no word for that."""
LEFT_OUT: Any = Field(default=None)
"""A key that is not there where there is nothing to say, and that is never null."""


class Part(BaseModel):
    # The texts below fields are their descriptions.
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
