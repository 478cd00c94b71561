"""Merging of the files beside the reports of a campaign's shards: guard advice, test results, curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faultlab.core.kill_matrix import Cell, killers_of, kills_of, only_killers
from faultlab.core.run_folder import ADVICE_FILE, CURVES_FILE, KNOWN_FILE, TESTS_FILE
from faultlab.errors import UsageError


def joined(folders: Sequence[Path]) -> dict[str, Any]:
    """Return the merged content of each file in any of the run folders. Raises UsageError if one can't be read."""
    found: dict[str, Any] = {}
    for name, join in _JOINED.items():
        parts = [_read(folder / name) for folder in folders if (folder / name).is_file()]
        if parts:
            found[name] = join(parts)
    return found


def timing(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the seconds of all shards together, by name, and the highest number of parallel runs."""
    names = dict.fromkeys(name for part in parts for name in part)
    joined = {name: round(sum(part.get(name, 0.0) for part in parts), 3) for name in names}
    if "jobs" in joined:
        joined["jobs"] = max(part.get("jobs", 0) for part in parts)
    return joined


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: can't be read: {error}\n    Run that shard again.") from None


def _advice(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge the guards' detections over all faults; those on the clean run are the same in every shard."""
    return {
        **parts[0],
        "broken": _united(parts, "broken"),
        "detected": dict(sorted(_united(parts, "detected").items())),
        **({"yours": _worths(parts)} if "yours" in parts[0] else {}),
    }


def _worths(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge the worth of the user's guards. The proof concerns the first of the faults that only that guard detects."""
    found = []
    for guard in dict.fromkeys(worth["guard"] for part in parts for worth in part["yours"]):
        same = [worth for part in parts for worth in part["yours"] if worth["guard"] == guard]
        alone = sorted(fault for worth in same for fault in worth["alone"])
        proven = next((worth["proven"] for worth in same if alone and worth["alone"][:1] == alone[:1]), None)
        modes = sorted({mode for worth in same for mode in worth["modes"]})
        found.append({"guard": guard, "modes": modes, "alone": alone, "proven": proven})
    return found


def _tests(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge the kill matrix. Faults that differ only in their trigger are one for tests, also across shards."""
    # Prefer an entry for which all tests were run.
    entries = sorted(
        (fault for part in reversed(parts) for fault in part["faults"]), key=lambda fault: not _settled(fault)
    )
    faults = {fault["id"]: fault for fault in entries}
    killers = {id: killers_of(Cell(**data) for data in fault["cells"]) for id, fault in sorted(faults.items())}
    tests: dict[str, dict[str, Any]] = {}
    for entry in [entry for part in parts for entry in part["tests"]]:
        tests.setdefault(entry["test"], entry)
    whole = all(part["whole"] for part in parts)
    kills = kills_of(killers.values(), tests)
    once = only_killers({id: found for id, found in killers.items() if whole and not _settled(faults[id])})
    return {
        **parts[0],
        "whole": whole,
        "tests": [{**entry, "kills": kills[test]} for test, entry in tests.items()],
        "left_out": _united(parts, "left_out"),
        "killed_once": once,
        "faults": [fault for _, fault in sorted(faults.items())],
        "timing": timing([part["timing"] for part in parts]),
    }


def _settled(fault: dict[str, Any]) -> bool:
    return bool(fault.get("settled"))


def _curves(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {**parts[0], "faults": dict(sorted(_united(parts, "faults").items()))}


def _first(parts: Sequence[Any]) -> Any:
    return parts[0]


def _united(parts: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    return {name: value for part in reversed(parts) for name, value in part[key].items()}


_JOINED = {ADVICE_FILE: _advice, TESTS_FILE: _tests, CURVES_FILE: _curves, KNOWN_FILE: _first}
