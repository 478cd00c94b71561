"""The digest that a report carries over all else in it, so that one which was changed by hand is not taken for a run's.

It keeps honest people from slips, and reviewers from missing an edit. It is no signature: whoever recomputes it, and
the files of the run folder that say the same, makes a report that nothing on disk can tell from a true one. Only a run
on a machine that the author of a change does not control proves more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

KEY = "digest"


def digest_of(data: Mapping[str, Any]) -> str:
    """The SHA-256 of plain JSON data without its digest, whatever the order of its keys and the layout of its file."""
    rest = {key: value for key, value in data.items() if key != KEY}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def broken(data: Mapping[str, Any]) -> str:
    """Why the data can't be taken for what was written; an empty string where its digest is right."""
    if KEY not in data:
        return "it has no digest"
    return "" if data[KEY] == digest_of(data) else "it is not as it was written: its digest is another's"
