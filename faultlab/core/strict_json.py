"""Strict JSON, which has no NaN and no infinity."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import IO, Any


def dump(data: Any, indent: int | None = None) -> str:
    """Return the data as strict JSON; numbers that are not finite become null."""
    text = json.dumps(plain(data), indent=indent, ensure_ascii=False, allow_nan=False)
    # A victim's message may hold a lone surrogate, which no file accepts; JSON has an escape for it.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def dump_to(lines: IO[str], data: Any, indent: int | None = None) -> None:
    """Write `plain` data to a text file as `dump` formats it, in pieces: a large document is never one string."""
    lines.writelines(json.JSONEncoder(indent=indent, ensure_ascii=False, allow_nan=False).iterencode(data))


def plain(data: Any) -> Any:
    """Return a JSON-ready copy: lists for tuples, values for enumerations, null for numbers that are not finite."""
    if isinstance(data, Enum):
        return data.value
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(value) for value in data]
    return data
