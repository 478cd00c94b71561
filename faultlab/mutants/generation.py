"""Drives mutmut, as it ships, to make the mutants of a workspace, and reads what it made. The driver's side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faultlab.engines.processes import one_thread_environment
from faultlab.errors import FaultlabError, UsageError
from faultlab.mutants import excuses, generator
from faultlab.mutants.location import Function, functions_of, locate
from faultlab.mutants.mutant import Mutant
from faultlab.mutants.workspace import Workspace

TESTED = "3.8.1"
_DEADLINE = 600.0
# What mutmut's own commands show for a verdict.
_EXIT_CODES = {"killed": 1, "survived": 0, "not_activated": 33, "timeout": 36, "crashed": -9, "ignored": 34}


@dataclass(frozen=True)
class Generated:
    """The mutants, and functions without any with the reason. ``notes`` are what the user should know of mutmut."""

    mutants: list[Mutant]
    unmutated: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    notes: Sequence[str] = ()


def check_system() -> None:
    """Raises UsageError where mutmut can't work."""
    if not hasattr(os, "fork"):
        raise UsageError(
            "source mutants need POSIX: mutmut runs on Linux and macOS, and on Windows within WSL. "
            "Everything else of faultlab goes on without: leave `mutants:` out of the scenario"
        )


def generate(workspace: Workspace, sources: Sequence[str]) -> Generated:
    """The mutants of the sources, which are in the workspace; they are written into its tree.

    Raises UsageError where mutmut is missing, is of a version that works otherwise, or fails.
    """
    said = _run(workspace)
    version = said.get("version", "")
    if "error" in said:
        raise UsageError(_failed(said["error"], version))
    notes = [f"mutmut left a file as it is: {text}" for text in said.get("warnings", [])]
    if version != TESTED:
        notes.append(f"mutmut {version} is not the one that faultlab was tested with, {TESTED}")
    mutants: list[Mutant] = []
    unmutated: dict[str, str] = {}
    for source in sources:
        text = (workspace.folder / source).read_text(encoding="utf-8")
        names = _names(workspace.tree / source)
        try:
            found = locate(source, text, workspace.tree / source, names) if names else []
        except (KeyError, ValueError, OSError, FaultlabError) as error:
            raise UsageError(_failed(f"{source}: {type(error).__name__}: {error}", version)) from None
        reasons = excuses.read(workspace.root / source, text)
        functions = functions_of(text) if names or text.strip() else {}
        mutants += [replace(mutant, excuse=reasons.of(mutant, functions.get(mutant.function))) for mutant in found]
        mutated = {mutant.function for mutant in found}
        unmutated |= {f"{source}:{f.line} {f.name}": _why_not(f) for f in functions.values() if f.name not in mutated}
    return Generated(mutants, unmutated, version, notes)


def write_back(workspace: Workspace, verdicts: Mapping[str, str]) -> None:
    """Puts verdicts where mutmut keeps its own, so that its commands show them."""
    for file in workspace.tree.rglob("*.py.meta"):
        meta = json.loads(file.read_text(encoding="utf-8"))
        for name in meta["exit_code_by_key"]:
            if name in verdicts:
                meta["exit_code_by_key"][name] = _EXIT_CODES.get(verdicts[name])
        file.write_text(json.dumps(meta, indent=4), encoding="utf-8")


def _run(workspace: Workspace) -> dict[str, Any]:
    environment = one_thread_environment()
    environment.pop("MUTANT_UNDER_TEST", None)
    try:
        made = subprocess.run(
            [sys.executable, str(Path(generator.__file__))],
            cwd=workspace.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"it takes more than {_DEADLINE:.0f} s; name fewer files"}
    text = made.stdout.decode(errors="replace").strip()
    try:
        said = json.loads(text.rpartition("\n")[2])
        return said if isinstance(said, dict) else {"error": text[-2000:]}
    except ValueError:
        return {"error": f"it ended with status {made.returncode}: {text[-2000:]}"}


def _failed(error: object, version: object) -> str:
    text = str(error)
    if "PackageNotFoundError" in text or "No module named 'mutmut'" in text:
        return f"mutmut, which makes source mutants, is not installed: python -m pip install mutmut=={TESTED}"
    if version and version != TESTED:
        return (
            f"mutmut {version} could not be driven: {text}\n    faultlab was tested with mutmut {TESTED}: "
            f"python -m pip install mutmut=={TESTED}. Verdicts of earlier runs are kept."
        )
    return f"mutmut failed: {text}\n    Verdicts of earlier runs are kept."


def _names(mutated: Path) -> list[str]:
    meta = mutated.with_name(mutated.name + ".meta")
    if not meta.exists():
        return []
    found = json.loads(meta.read_text(encoding="utf-8"))
    return list(found["exit_code_by_key"])


def _why_not(function: Function) -> str:
    if function.decorators and function.decorators not in (("staticmethod",), ("classmethod",)):
        return f"decorated: mutmut does not mutate what @{function.decorators[0]} makes of it"
    return "nothing in it that mutmut changes"
