"""The digest that a report carries over all its other content, so that a manual edit is recognized.

It protects from accidental edits and keeps reviewers from missing one. It is not a signature: if you recompute it, and
the matching files of the run folder, nothing on disk distinguishes the report from a true one. Only a run on a machine
that the author of a change does not control proves more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

KEY = "digest"


def digest_of(data: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain JSON data without its digest, independent of key order and file layout."""
    rest = {key: value for key, value in data.items() if key != KEY}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def broken(data: Mapping[str, Any]) -> str:
    """Return why the data is not trustworthy; an empty string if its digest is correct."""
    if KEY not in data:
        return "it has no digest"
    return "" if data[KEY] == digest_of(data) else "it was edited after it was written: its digest does not match"
