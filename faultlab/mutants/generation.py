"""A driver of unmodified mutmut, which generates the mutants of a workspace. This is the driver's side."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faultlab.core.threads import one_thread_environment
from faultlab.errors import FaultlabError, Problem, ScenarioError, UsageError
from faultlab.mutants import exemptions, generator
from faultlab.mutants.location import Function, beyond_reach, functions_of, locate, owner
from faultlab.mutants.mutant import Mutant
from faultlab.mutants.workspace import Workspace

TESTED = "3.8.1"
_DEADLINE = 600.0
_THEIRS = "\nfrom mutmut.mutation.trampoline import wrap_in_trampoline as"
_OURS = "\nfrom faultlab.injection.mutant_trampoline import wrap_in_trampoline as"
_REMEDY = "Name the files to mutate without it."
_NOTHING = "mutmut finds nothing to change in it"
_NEVER = ("__getattribute__", "__setattr__", "__new__")
# The exit codes that mutmut's own commands show as verdicts.
_EXIT_CODES = {"killed": 1, "survived": 0, "not_activated": 33, "timeout": 36, "crashed": -9, "ignored": 34}


@dataclass(frozen=True)
class Generated:
    """The mutants, and the functions without mutants, with the reasons. ``notes`` are messages for the user.

    ``unreached`` has the functions that mutmut can't change although they have code to change: file and function by
    their key in ``unmutated``.
    """

    mutants: list[Mutant]
    unmutated: Mapping[str, str] = field(default_factory=dict)
    unreached: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    version: str = ""
    notes: Sequence[str] = ()


def check_system() -> None:
    """Raise UsageError if mutmut can't work on this system."""
    if not hasattr(os, "fork"):
        raise UsageError(
            "source mutants need POSIX: mutmut runs on Linux and macOS, and on Windows within WSL. "
            "All else of faultlab works without it: remove `mutants:` from the scenario"
        )


def generate(workspace: Workspace, sources: Sequence[str]) -> Generated:
    """Generate the mutants of the sources into the workspace's tree, and return them.

    Raises:
        ScenarioError: A source can't be read.
        UsageError: mutmut is missing, is an unsupported version, or fails.
    """
    texts = _read(workspace, sources)
    said = _run(workspace)
    version = said.get("version", "")
    if "error" in said:
        raise UsageError(_failed(str(said["error"]), version, missing=bool(said.get("missing"))))
    notes = [f"mutmut left a file unchanged: {text}" for text in said.get("warnings", [])]
    if version != TESTED:
        notes.append(f"mutmut {version} differs from {TESTED}, which faultlab was tested with")
    mutants: list[Mutant] = []
    unmutated: dict[str, str] = {}
    unreached: dict[str, tuple[str, str]] = {}
    for source, text in texts.items():
        try:
            names = _names(workspace.tree / source)
            found = locate(source, text, workspace.tree / source, names) if names else []
        except (FaultlabError, LookupError, ValueError, TypeError, AttributeError, OSError) as error:
            raise UsageError(_failed(f"{source}: {type(error).__name__}: {error}", version)) from None
        reasons, functions = exemptions.read(workspace.root / source, text), functions_of(text)
        owners = [owner(mutant, functions) for mutant in found]
        mutants += [replace(mutant, exemption=reasons.of(mutant, own)) for mutant, own in zip(found, owners)]
        left = [(function, "") for function in functions if function not in owners]
        for function, where in sorted([*left, *beyond_reach(text)], key=lambda pair: pair[0].line):
            place = f"{source}:{function.line} {function.name}"
            exempted, empty = reasons.by_line.get(function.line, ""), _why_empty(function, functions)
            barred = _why_unreached(function, where)
            unmutated[place] = (exempted and f"exempt: {exempted}") or empty or barred or _NOTHING
            if barred and not (exempted or empty):
                unreached[place] = source, function.name
        _connect(workspace.tree / source)
    _check_names(mutants)
    return Generated(mutants, unmutated, unreached, version, notes)


def write_back(workspace: Workspace, verdicts: Mapping[str, str]) -> None:
    """Write verdicts to mutmut's own files, so that its commands show them."""
    for file in workspace.tree.rglob("*.py.meta"):
        meta = json.loads(file.read_text(encoding="utf-8"))
        for name in meta["exit_code_by_key"]:
            if name in verdicts:
                meta["exit_code_by_key"][name] = _EXIT_CODES.get(verdicts[name])
        file.write_text(json.dumps(meta, indent=4), encoding="utf-8")


def _read(workspace: Workspace, sources: Sequence[str]) -> dict[str, str]:
    """Return the sources, which mutmut reads as UTF-8 even if they declare another encoding.

    Raises:
        ScenarioError: A source is not UTF-8 or not valid Python.
    """
    texts: dict[str, str] = {}
    problems = []
    for source in sources:
        place = str(workspace.root / source)
        try:
            texts[source] = (workspace.folder / source).read_text(encoding="utf-8")
            ast.parse(texts[source])
        except UnicodeDecodeError:
            problems.append(Problem(place, 1, 1, "invalid encoding: mutmut reads only UTF-8", _REMEDY))
        except (SyntaxError, ValueError) as error:
            line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
            said = getattr(error, "msg", None) or str(error)
            problems.append(Problem(place, line, column, f"invalid Python: {said}", _REMEDY))
    if problems:
        raise ScenarioError(problems)
    return texts


def _connect(mutated: Path) -> None:
    """Make the mutated file work in every process that imports it, also in those that the code itself starts."""
    text = mutated.read_text(encoding="utf-8")
    if text.count(_THEIRS) == 1:
        mutated.write_text(text.replace(_THEIRS, _OURS), encoding="utf-8")


def _check_names(mutants: Sequence[Mutant]) -> None:
    files: dict[str, str] = {}
    for mutant in mutants:
        if files.setdefault(mutant.name, mutant.file) != mutant.file:
            both = f"{files[mutant.name]} and {mutant.file}"
            raise UsageError(
                f"{both} have one module name for mutmut, {mutant.name.rpartition('.')[0]}: mutate them separately"
            )


def _run(workspace: Workspace) -> dict[str, Any]:
    environment = one_thread_environment()
    environment.pop("MUTANT_UNDER_TEST", None)
    # mutmut reads and writes files in the system's encoding.
    environment["PYTHONUTF8"] = "1"
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
        return {"error": f"it takes more than {_DEADLINE:.0f} s: name fewer files"}
    text = made.stdout.decode(errors="replace").strip()
    try:
        said = json.loads(text.rpartition("\n")[2])
        return said if isinstance(said, dict) else {"error": text[-2000:]}
    except ValueError:
        return {"error": f"it ended with status {made.returncode}: {text[-2000:]}"}


def _failed(text: str, version: object, missing: bool = False) -> str:
    if missing:
        return f"mutmut, which generates source mutants, is not installed: python -m pip install mutmut=={TESTED}"
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


def _why_unreached(function: Function, where: str) -> str:
    """Return the reason why mutmut can't change the function, whatever its code; empty if it can."""
    if where:
        return f"it is {where}, where mutmut does not look"
    if function.decorators and function.decorators not in (("staticmethod",), ("classmethod",)):
        return f"mutmut does not mutate functions with the decorator @{function.decorators[0]}"
    name = function.name.rpartition(".")[2]
    return f"mutmut does not mutate {name}" if name in _NEVER else ""


def _why_empty(function: Function, functions: Sequence[Function]) -> str:
    """Return the reason why there is nothing to change in the function; empty if there is something."""
    if any(other.name == function.name and other.line > function.line for other in functions):
        return "a later function of the same name replaces it"
    if "pragma: no mutate" in function.source:
        return "excluded from mutation by # pragma: no mutate"
    return _NOTHING if function.empty else ""
